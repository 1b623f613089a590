/*
 * answer.h
 *	  What a key remembers of its work.
 */
#ifndef IDEM_ANSWER_H
#define IDEM_ANSWER_H

#include "utils/jsonb.h"

#include "base/compat.h"
#include "base/outcome.h"

/* The answer of a call, which a replay is given again. */
typedef struct IdemAnswer
{
	IdemOutcome outcome;
	Datum		response;		/* jsonb, in the caller's memory */
	bool		response_isnull;
	const char *refused;		/* SQLSTATE of the error that it is; NULL: of
								 * none, or a replay */
} IdemAnswer;

/* An object or an array in a stored answer, while it is read. */
typedef struct IdemAnswerPart
{
	JsonbContainer *json;
	const char *of;				/* whose answer it should be, for the error:
								 * "a command" */
} IdemAnswerPart;

extern void idem_answer_set(IdemAnswer *answer, IdemOutcome outcome,
							Jsonb *response);
extern Datum idem_answer_withheld(void);
extern bool idem_answer_is_withheld(const IdemAnswer *answer);
extern void idem_answer_object(const IdemAnswer *answer, const char *of,
							   IdemAnswerPart *object);
extern void idem_answer_array(const IdemAnswer *answer, const char *of,
							  int count, IdemAnswerPart *array);
extern void idem_answer_element(const IdemAnswerPart *array, int i,
								IdemAnswerPart *object);
extern Jsonb *idem_answer_value(const IdemAnswerPart *object, const char *name);
extern char *idem_answer_string(const IdemAnswerPart *object, const char *name);
extern int64 idem_answer_int8(const IdemAnswerPart *object, const char *name,
							  bool *isnull);
pg_noreturn extern void idem_answer_error(const char *of);

#endif							/* IDEM_ANSWER_H */
