/*
 * attach_ddl.h
 *	  The triggers by which a table follows state machines, as DDL.
 */
#ifndef IDEM_ATTACH_DDL_H
#define IDEM_ATTACH_DDL_H

#include "nodes/pg_list.h"
#include "utils/relcache.h"

/* What a table is to follow, as the caller of idem_attach() says. */
typedef struct IdemAttachWish
{
	const char *machine;
	const char *status;			/* column with the state */
	const char *version;		/* column with the version */
	bool		history;		/* are its transitions to be recorded? */
} IdemAttachWish;

extern List *idem_attach_ddl_triggers(Relation rel, const char *column);
extern List *idem_attach_ddl_create(Relation rel, const IdemAttachWish *wanted,
									bool attached);
extern List *idem_attach_ddl_drop(Relation rel, const char *column);

#endif							/* IDEM_ATTACH_DDL_H */
