/*
 * store.h
 *	  Stores: tables like idem's own, in a schema of the user's.
 */
#ifndef IDEM_STORE_H
#define IDEM_STORE_H

#include "base/table_shape.h"

/* A store, as it was when the call began. */
typedef struct IdemStore
{
	char		name[NAMEDATALEN];	/* its schema's */
	char		schema[NAMEDATALEN * 2 + 3];	/* the same, quoted */
	bool		is_own;			/* is it the extension's own schema? */
	Oid			key_table;		/* its tables; InvalidOid: it has none such */
	Oid			message_table;
	Oid			offset_table;
	Oid			scope_type;		/* of the scope of its keys */
	uint64		changes;		/* of all that is known of stores, until then */
} IdemStore;

extern const IdemStore *idem_store_current(void);
extern const IdemStore *idem_store_of(IdemTable table);
extern Oid	idem_store_table(const IdemStore *store, IdemTable table);
extern Oid	idem_store_lock(const IdemStore *store, IdemTable table, bool reads);
extern bool idem_store_takes(Oid scope_type);
extern text *idem_store_scope(const IdemStore *store, text *scope);
extern Datum idem_store_scope_value(const IdemStore *store, text *scope);
extern void idem_store_init(void);

#endif							/* IDEM_STORE_H */
