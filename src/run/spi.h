/*
 * spi.h
 *	  Running SQL: idem's own as the owner of its tables, the caller's as the
 *	  caller.
 */
#ifndef IDEM_SPI_H
#define IDEM_SPI_H

#include "executor/spi.h"

#include "base/catalog.h"

#define IDEM_MAX_ARGS	16

/* A plan that is kept. */
typedef struct IdemPlan IdemPlan;

/*
 * A statement of idem's own.  Give it static storage, with text, nargs and
 * argtypes filled in; in the text each "@" stands for the extension's schema,
 * among the types InvalidOid for idem_outcome.
 */
typedef struct IdemStatement
{
	const char *text;
	int			nargs;
	Oid			argtypes[IDEM_MAX_ARGS];
	size_t		table;			/* 0: always restricted */
	/* private to spi.c */
	IdemPlan   *plan;			/* NULL before first use */
	uint64		reloads;		/* of the catalog, when plan was made */
} IdemStatement;

/* Makes the arguments of a statement that takes these types. */
typedef ParamListInfo (*IdemBindCallback) (int nargs, const Oid *types,
										   void *state);

extern uint64 idem_spi_own(IdemStatement *statement, Datum *args,
						   const bool *arg_isnull, int ncols, Datum *values,
						   bool *isnull);
extern void idem_spi_own_send(IdemStatement *statement, Datum *args,
							  DestReceiver *dest);

extern IdemPlan *idem_spi_find(const char *signature, int length);
extern uint8 *idem_spi_insert_streak(const char *signature, int length);
extern IdemPlan *idem_spi_keep(const char *signature, int length,
							   const char *sql, int nargs, Oid *argtypes);
extern const void *idem_spi_data(const char *signature, int length);
extern MemoryContext idem_spi_memory(IdemPlan *plan);
extern void idem_spi_set_data(IdemPlan *plan, const void *data);
extern uint64 idem_spi_caller(IdemPlan *plan, Datum *args, const bool *arg_isnull,
							  int ncols, Datum *values, bool *isnull);
extern uint64 idem_spi_caller_send(IdemPlan *plan, IdemBindCallback bind,
								   void *state, DestReceiver *dest);
extern uint64 idem_spi_once_send(const char *sql, int nargs, Oid *argtypes,
								 IdemBindCallback bind, void *state,
								 DestReceiver *dest);
extern uint64 idem_spi_once(const char *sql, int nargs, Oid *argtypes,
							Datum *args, int ncols, Datum *values,
							bool *isnull);
extern void idem_spi_command(const char *sql);

/* for plan_cache.c alone */
extern void idem_spi_free(SPIPlanPtr plan);

#endif							/* IDEM_SPI_H */
