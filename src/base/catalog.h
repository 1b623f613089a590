/*
 * catalog.h
 *	  Where idem's own objects are in the current database.
 */
#ifndef IDEM_CATALOG_H
#define IDEM_CATALOG_H

#include "utils/relcache.h"

#include "base/compat.h"
#include "base/outcome.h"

typedef struct IdemCatalog
{
	uint64		generation;		/* differs whenever anything below does */
	uint64		reloads;		/* whenever anything below may have changed */
	char		schema[NAMEDATALEN * 2 + 3];	/* quoted name of the schema */
	Oid			schema_oid;
	Oid			key_table;		/* idem_key */
	Oid			scope_table;	/* idem_scope */
	Oid			machine_table;	/* idem_machine */
	Oid			edge_table;		/* idem_machine_edge */
	Oid			lifecycle;		/* idem_lifecycle(), the trigger function */
	Oid			version;		/* idem_version(), the trigger function */
	Oid			history_table;	/* idem_history */
	Oid			consumer_table; /* idem_consumer */
	Oid			message_table;	/* idem_message */
	Oid			offset_table;	/* idem_offset */
	Oid			saga_table;		/* idem_saga */
	Oid			saga_step_table;	/* idem_saga_step */
	Oid			outbox_table;	/* idem_outbox */
	Oid			outbox_era_table;	/* idem_outbox_era */
	Oid			outbox_position_table;	/* idem_outbox_position */
	Oid			key_range_table;	/* idem_key_range */
	Oid			role_type;		/* idem_role */
	Oid			outcome_type;	/* idem_outcome */
	Oid			outcome[IDEM_OUTCOMES]; /* idem_outcome's values */
} IdemCatalog;

extern const IdemCatalog *idem_catalog(void);
extern bool idem_catalog_installed(void);
extern Oid	idem_catalog_table(size_t field);
extern Oid	idem_catalog_key_of(Relation rel);
extern IdemOutcome idem_catalog_outcome(Oid value);
pg_noreturn extern void idem_catalog_error_altered(const char *kind,
												   const char *name);
extern void idem_catalog_init(void);

#endif							/* IDEM_CATALOG_H */
