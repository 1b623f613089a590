/*
 * purge_tables.h
 *	  The tables that are purged, and how rows of each are deleted.
 */
#ifndef IDEM_PURGE_TABLES_H
#define IDEM_PURGE_TABLES_H

#include "utils/relcache.h"

#include "purge/purge.h"
#include "purge/purge_delete.h"

/* What is the matter with a table. */
typedef enum IdemPurgeState
{
	IDEM_PURGE_READY,			/* nothing: it is open and locked */
	IDEM_PURGE_IN_USE,			/* others have locked it */
	IDEM_PURGE_RANGES_IN_USE,	/* or what is known of its ranges of blocks */
	IDEM_PURGE_FILLED			/* a subscription fills it */
} IdemPurgeState;

extern const char *idem_purge_tables_name(int table);
extern int	idem_purge_tables_kept_s(int table);
extern bool idem_purge_tables_is_kept(int table);
extern bool idem_purge_tables_is_by_block(int table);
extern IdemPurgeState idem_purge_tables_open(int table, bool wait, Relation *rel);
extern bool idem_purge_tables_delete(IdemPurge *purge, Relation rel,
									 IdemPurgeDelete *rows);

#endif							/* IDEM_PURGE_TABLES_H */
