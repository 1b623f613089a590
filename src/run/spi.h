/*
 * spi.h
 *	  Running SQL, and the plans that it is run by.
 */
#ifndef IDEM_SPI_H
#define IDEM_SPI_H

#include "executor/spi.h"

#include "run/own_names.h"
#include "run/operation.h"

/*
 * A plan: that of a statement of idem's own, which the statement points to, or
 * one of the caller's, kept under its signature.
 */
typedef struct IdemPlan
{
	/* private to spi.c */
	SPIPlanPtr	plan;			/* owned, kept by SPI_keepplan */
	int			running;		/* executions under way */
	bool		forgotten;		/* to be freed with the last of them? */
	MemoryContext memory;		/* goes with the plan; NULL: none is needed */
	IdemOwnNames own;			/* what its text may name, if it is idem's */
	IdemOperationOn operation;	/* what its errors say that it does */
	/* of a plan that is kept under a signature */
	bool		stale;			/* have roles changed since it was made? */
	void	   *data;			/* its user's; all zero at first */
} IdemPlan;

/* Makes the arguments of a statement that takes these types. */
typedef ParamListInfo (*IdemBindCallback) (int nargs, const Oid *types,
										   void *state);

/* What an execution takes, and gives. */
typedef struct IdemExecution
{
	Datum	   *args;
	const bool *arg_isnull;		/* NULL: none is */
	/* the first row's columns go there */
	int			ncols;
	Datum	   *values;
	bool	   *isnull;
	/* or all rows do, of arguments that bind makes */
	DestReceiver *dest;			/* NULL: they do not */
	IdemBindCallback bind;
	void	   *state;
} IdemExecution;

/* For spi_own.c and spi_caller.c. */
extern IdemPlan *idem_spi_prepare(const char *sql, int nargs, Oid *argtypes,
								  Size data_size, const IdemOwnNames *own,
								  const IdemOperationOn *operation);
extern bool idem_spi_is_valid(const IdemPlan *plan);
extern bool idem_spi_is_running(const IdemPlan *plan);
extern bool idem_spi_is_forgotten(const IdemPlan *plan);
extern List *idem_spi_sources(const IdemPlan *plan);
extern void idem_spi_forget(IdemPlan *plan);
extern uint64 idem_spi_run(IdemPlan *plan, const IdemExecution *how);

extern bool idem_spi_run_instead(IdemPlan *plan, void (*work) (void *state),
								 void *state);
extern bool idem_spi_hold(IdemPlan *plan, void (*work) (void *state),
						  void *state);

extern MemoryContext idem_spi_memory(IdemPlan *plan);
extern uint64 idem_spi_once_send(const char *sql, int nargs, Oid *argtypes,
								 IdemBindCallback bind, void *state,
								 DestReceiver *dest);
extern uint64 idem_spi_once(const char *sql, Oid table, int nargs, Oid *argtypes,
							Datum *args, int ncols, Datum *values,
							bool *isnull);
extern void idem_spi_command(const char *sql);

#endif							/* IDEM_SPI_H */
