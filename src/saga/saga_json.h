/*
 * saga_json.h
 *	  What the ledger of sagas writes and reads as jsonb.
 */
#ifndef IDEM_SAGA_JSON_H
#define IDEM_SAGA_JSON_H

#include "saga/saga.h"

/* What the claim of a step says that it is for. */
typedef struct IdemSagaRequest
{
	text	   *saga;
	text	   *scope;
	int			step;
	bool		undo;
} IdemSagaRequest;

extern Jsonb *idem_saga_json_request(const IdemSaga *saga, int step, bool undo);
extern bool idem_saga_json_read_request(Jsonb *json, IdemSagaRequest *request);
extern Jsonb *idem_saga_json_end(const char *status, const pg_uuid_t *command,
								 Jsonb *result);
extern char *idem_saga_json_status(Jsonb *response);
extern char *idem_saga_json_command(Jsonb *response);
extern Jsonb *idem_saga_json_result(Jsonb *response);
extern Jsonb *idem_saga_json_reason(const char *reason, TimestampTz at);
extern Datum idem_saga_json_prior(const IdemSaga *saga, bool *isnull);
extern Jsonb *idem_saga_json_verdict(const char *verdict, Jsonb *note);

#endif							/* IDEM_SAGA_JSON_H */
