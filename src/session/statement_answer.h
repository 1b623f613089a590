/*
 * statement_answer.h
 *	  What a statement of a replay is answered instead of being run.
 */
#ifndef IDEM_STATEMENT_ANSWER_H
#define IDEM_STATEMENT_ANSWER_H

#include "session/statement_run.h"

extern void idem_statement_answer_check(const IdemStatementRun *run);
extern void idem_statement_answer_send(IdemStatementRun *run, uint64 count);
extern void idem_statement_answer_send_nothing(QueryDesc *query);

#endif							/* IDEM_STATEMENT_ANSWER_H */
