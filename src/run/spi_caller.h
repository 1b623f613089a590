/*
 * spi_caller.h
 *	  Running the caller's statements, with the caller's rights.
 */
#ifndef IDEM_SPI_CALLER_H
#define IDEM_SPI_CALLER_H

#include "run/plan_cache.h"
#include "run/spi.h"

/* A statement of the caller's whose plan is kept under a signature. */
typedef struct IdemCallerStatement
{
	IdemPlanSignature signature;

	/*
	 * Writes its SQL, where no plan is kept; NULL: there is no such
	 * statement.
	 */
	const char *(*write_sql) (const void *state, int which);
	const void *state;
	int			nargs;
	Oid		   *argtypes;
	Size		data_size;		/* of what goes with its plan */

	/* of one that write_sql writes: what it may name */
	Oid			table;			/* InvalidOid: what is the server's */
	bool		looks;			/* may it name no code but the server's? */
	bool		runs_nothing;	/* may it run none? */
	/* and what its errors say that it does; NULL: they have its text */
	const IdemOperation *operation;
} IdemCallerStatement;

/*
 * A signature for statements of one kind about one table.  Privileges and row
 * security shape a plan, hence one for each role.
 */
typedef struct IdemTableSignature
{
	IdemPlanKind kind;
	Oid			user;
	Oid			table;
} IdemTableSignature;

extern IdemPlan *idem_spi_caller_plan(const IdemCallerStatement *statement);
extern IdemPlan *idem_spi_caller_find(const IdemCallerStatement *statement);
extern IdemPlan *idem_spi_caller_keep(const IdemCallerStatement *statement,
									  const char *sql);
extern void *idem_spi_caller_data(const IdemCallerStatement *statement);
extern uint64 idem_spi_caller(IdemPlan *plan, Datum *args,
							  const bool *arg_isnull, int ncols,
							  Datum *values, bool *isnull);
extern uint64 idem_spi_caller_send(IdemPlan *plan, IdemBindCallback bind,
								   void *state, DestReceiver *dest);

#endif							/* IDEM_SPI_CALLER_H */
