/*
 * saga_report.h
 *	  What the holder of a claim reports of a step.
 */
#ifndef IDEM_SAGA_REPORT_H
#define IDEM_SAGA_REPORT_H

#include "saga/saga_begin.h"

extern const char *idem_saga_report_done(IdemSaga *saga, IdemSagaStep *step, bool undo,
										 text *key, int64 fence, Jsonb *output,
										 const pg_uuid_t *command);

#endif							/* IDEM_SAGA_REPORT_H */
