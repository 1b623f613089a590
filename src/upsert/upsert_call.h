/*
 * upsert_call.h
 *	  An upsert as it is asked for by a call, and as the work of a key.
 */
#ifndef IDEM_UPSERT_CALL_H
#define IDEM_UPSERT_CALL_H

#include "utils/array.h"
#include "utils/uuid.h"

#include "key/answer.h"
#include "table/column_sql.h"
#include "upsert/upsert_run.h"

typedef struct IdemUpsertCall
{
	IdemUpsert	upsert;
	IdemSpelling spelling;		/* of its data */
} IdemUpsertCall;

extern List *idem_upsert_call_conflict(ArrayType *array);
extern void idem_upsert_call_set_data(IdemUpsertCall *call, Jsonb *data);
extern void idem_upsert_call_set_merge(IdemUpsertCall *call, Jsonb *merge);
extern pg_uuid_t idem_upsert_call_fingerprint(const IdemUpsertCall *call);
extern Jsonb *idem_upsert_call_data(const IdemUpsertCall *call);
extern void idem_upsert_call_run(void *call, IdemAnswer *answer);

#endif							/* IDEM_UPSERT_CALL_H */
