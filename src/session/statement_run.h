/*
 * statement_run.h
 *	  The statements of the client's that are under way in a transaction with a key.
 */
#ifndef IDEM_STATEMENT_RUN_H
#define IDEM_STATEMENT_RUN_H

#include "executor/execdesc.h"

#include "session/record.h"

/* A statement of the client's that has been started, and not ended. */
typedef struct IdemStatementRun
{
	QueryDesc  *query;
	IdemEntry  *entry;			/* NULL: in a replay it runs again */
	bool		answered;		/* from the entry? */
	bool		kept;			/* may its rows be kept, and sent again? */
	bool		is_write;		/* by what it says? */
	bool		acts;			/* does it call what may do something? */
	bool		locks;			/* does it lock rows? */
	bool		wrote;			/* has it written something? */
	bool		dropped;		/* were its rows more than are kept? */
	bool		running;		/* its rows are being made right now */
	bool		ran;
	bool		exhausted;		/* have all rows been asked for? */
	IdemRowsPlace place;		/* as far as it has been answered */
	struct IdemStatementRun *next;
} IdemStatementRun;

/* What has been seen of the transaction before a part of a statement ran. */
typedef struct IdemSeen
{
	CommandId	command;
	TransactionId xid;
} IdemSeen;

/* The one that is being run. */
extern IdemStatementRun *idem_statement_run_current;

extern bool idem_statement_run_writes(const QueryDesc *query);
extern bool idem_statement_run_is_top(const QueryDesc *query);
extern uint32 idem_statement_run_names(const QueryDesc *query);
extern const char *idem_statement_run_command(const QueryDesc *query);
extern IdemStatementRun *idem_statement_run_find(const QueryDesc *query);
extern void idem_statement_run_forget(const QueryDesc *query);
extern IdemStatementRun *idem_statement_run_open(QueryDesc *query);
extern void idem_statement_run_settle(const IdemStatementRun *run);
extern void idem_statement_run_fail(IdemStatementRun *run, int level,
									const IdemRows *before);
extern void idem_statement_run_close(IdemStatementRun *run);
extern IdemSeen idem_statement_run_see(void);
extern void idem_statement_run_look(IdemStatementRun *run, const IdemSeen *before);
extern void idem_statement_run_wrote(void);
extern void idem_statement_run_notifies(void);
pg_noreturn extern void idem_statement_run_error_unkept(void);
pg_noreturn extern void idem_statement_run_error_unsent(void);
extern void idem_statement_run_init(void);

#endif							/* IDEM_STATEMENT_RUN_H */
