/*
 * saga_rules.h
 *	  What becomes of a saga: its states, decided in memory.
 */
#ifndef IDEM_SAGA_RULES_H
#define IDEM_SAGA_RULES_H

#include "saga/saga.h"

extern const char *idem_saga_rules_status(IdemSagaStatus status);
extern const char *idem_saga_rules_step_status(IdemStepStatus status);
extern bool idem_saga_rules_ended(const IdemSaga *saga);
extern bool idem_saga_rules_past_pivot(const IdemSaga *saga);
extern bool idem_saga_rules_late(const IdemSaga *saga);
extern IdemSagaStep *idem_saga_rules_due(IdemSaga *saga);
extern text *idem_saga_rules_due_work(const IdemSagaStep *step);
extern bool idem_saga_rules_exhausted(const IdemSagaStep *step);
extern void idem_saga_rules_settle(IdemSaga *saga);
extern void idem_saga_rules_compensate(IdemSaga *saga, Jsonb *error);
extern void idem_saga_rules_begin(IdemSaga *saga, IdemSagaStep *step,
								  TimestampTz lease_until, Oid role);
extern void idem_saga_rules_prolong(IdemSagaStep *step, TimestampTz lease_until);
extern void idem_saga_rules_lose(IdemSaga *saga, IdemSagaStep *step, Jsonb *error);
extern void idem_saga_rules_done(IdemSaga *saga, IdemSagaStep *step, bool undo,
								 Jsonb *output);
extern bool idem_saga_rules_retries(const IdemSaga *saga, const IdemSagaStep *step,
									bool undo);
extern void idem_saga_rules_retry(IdemSaga *saga, IdemSagaStep *step, Jsonb *error,
								  int64 after_us);
extern void idem_saga_rules_fail(IdemSaga *saga, IdemSagaStep *step, bool undo,
								 Jsonb *error, bool unknown);
extern void idem_saga_rules_resolve(IdemSaga *saga, IdemSagaStep *step,
									IdemStepStatus verdict);

#endif							/* IDEM_SAGA_RULES_H */
