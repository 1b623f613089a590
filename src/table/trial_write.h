/*
 * trial_write.h
 *	  What would come of a write, without its being done.
 */
#ifndef IDEM_TRIAL_WRITE_H
#define IDEM_TRIAL_WRITE_H

#include "nodes/pg_list.h"
#include "utils/jsonb.h"

/* Makes the write, and gives the row that came of it; NULL if none did. */
typedef Jsonb *(*IdemTrialWriteCallback) (void *state);

extern bool idem_trial_write_keeps(Jsonb *row, const List *names,
								   IdemTrialWriteCallback write, void *state);

#endif							/* IDEM_TRIAL_WRITE_H */
