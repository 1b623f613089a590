/*
 * transition_answer.h
 *	  Changes of state as a key remembers them.
 */
#ifndef IDEM_TRANSITION_ANSWER_H
#define IDEM_TRANSITION_ANSWER_H

#include "lib/stringinfo.h"
#include "utils/jsonb.h"

#include "key/key.h"
#include "transition/transition_exec.h"

extern Jsonb *idem_transition_answer_encode(const IdemTransitionResult *result);
extern void idem_transition_answer_decode(const IdemAnswer *answer,
										  IdemTransitionResult *result);
extern Jsonb *idem_transition_answer_encode_set(int count, Jsonb **ids,
												const IdemTransitionResult *results);
extern void idem_transition_answer_decode_set(const IdemAnswer *answer,
											  int count,
											  IdemTransitionResult *results);

#endif							/* IDEM_TRANSITION_ANSWER_H */
