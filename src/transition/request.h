/*
 * request.h
 *	  What the functions of transitions are asked, and how they answer.
 */
#ifndef IDEM_REQUEST_H
#define IDEM_REQUEST_H

#include "fmgr.h"

#include "base/fingerprint.h"
#include "key/key.h"
#include "transition/change.h"

/* The columns of an answer from the outcome on. */
#define IDEM_REQUEST_COLUMNS	5

/* What tells the functions apart. */
typedef struct IdemRequestKind
{
	const char *function;		/* its name, for messages */
	const char *machine;		/* that the table has to follow; NULL: any */
	const char *state;			/* name of the argument with the state */
	bool		is_enum;		/* is that of an enum type? else text */
} IdemRequestKind;

typedef struct IdemRequest
{
	const IdemRequestKind *kind;
	Oid			target;
	const char *to;				/* state */
	IdemKey		key;			/* if wish.key is set */
	IdemWish	wish;			/* without the row and its version */
} IdemRequest;

extern void idem_request_read(IdemRequest *request, FunctionCallInfo fcinfo,
							  const IdemRequestKind *kind);
extern void idem_request_fingerprint_version(IdemFingerprint *fp,
											 const IdemWish *wish);
extern void idem_request_fingerprint_note(IdemFingerprint *fp,
										  const IdemWish *wish);
extern void idem_request_open(const IdemRequest *request, IdemStage *stage);
extern void idem_request_answer(const IdemChange *change, bool replayed,
								Datum *values, bool *nulls);

#endif							/* IDEM_REQUEST_H */
