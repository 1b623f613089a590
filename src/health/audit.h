/*
 * audit.h
 *	  Looking for what should not be: findings about the rows of a table.
 */
#ifndef IDEM_AUDIT_H
#define IDEM_AUDIT_H

#include "funcapi.h"
#include "nodes/bitmapset.h"
#include "nodes/pg_list.h"
#include "utils/jsonb.h"
#include "utils/relcache.h"

#include "base/unique_index.h"

/* A table that is looked at. */
typedef struct IdemAudit
{
	Relation	rel;
	List	   *attachments;	/* to machines */
	Bitmapset  *managed;		/* columns with states and the version */
	IdemUniqueIndex key;
	bool		recorded;		/* does it keep a history of any column? */
	ReturnSetInfo *result;
} IdemAudit;

extern void idem_audit_found(const IdemAudit *audit, const char *finding,
							 Jsonb *id, const char *key, const char *detail);
extern void idem_audit_keys(const IdemAudit *audit);
extern void idem_audit_rows(const IdemAudit *audit);

#endif							/* IDEM_AUDIT_H */
