/*
 * spi_own.h
 *	  Running idem's own statements, as the owner of idem's tables.
 */
#ifndef IDEM_SPI_OWN_H
#define IDEM_SPI_OWN_H

#include "base/catalog.h"
#include "run/spi.h"

#define IDEM_MAX_ARGS	18

/*
 * A statement of idem's own, which is about one table.  Give it static storage, with
 * all but the last fields filled in; in the text each "@" stands for the extension's
 * schema, among the types InvalidOid for idem_outcome.
 */
typedef struct IdemStatement
{
	const char *text;
	int			nargs;
	Oid			argtypes[IDEM_MAX_ARGS];
	size_t		table;			/* where IdemCatalog has the OID of its table */
	bool		reads;			/* does it only read its table? */
	bool		bare;			/* may the search_path stay, where nothing is
								 * attached to the table? */
	/* private to spi_own.c */
	IdemPlan   *plan;			/* NULL before first use */
	uint64		reloads;		/* of the catalog, when plan was made */
} IdemStatement;

extern uint64 idem_spi_own(IdemStatement *statement, Datum *args,
						   const bool *arg_isnull, int ncols, Datum *values,
						   bool *isnull);
extern void idem_spi_own_send(IdemStatement *statement, Datum *args,
							  DestReceiver *dest);

#endif							/* IDEM_SPI_OWN_H */
