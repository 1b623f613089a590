/*
 * target.h
 *	  A table that a call writes to.
 */
#ifndef IDEM_TARGET_H
#define IDEM_TARGET_H

#include "catalog/pg_attribute.h"
#include "utils/relcache.h"

#include "base/compat.h"
#include "base/unique_index.h"
#include "table/target_check.h"

/* What upserts, updates and transitions all know of their table. */
typedef struct IdemTarget
{
	Relation	rel;			/* open, and locked as the write locks it */
	IdemUniqueIndex key;		/* tells its rows apart; set by the caller */
	AttrNumber	version;		/* column with the version; InvalidAttrNumber:
								 * none */
	bool		raise_version;	/* is raising it left to the statement? */
} IdemTarget;

extern void idem_target_open(IdemTarget *target, Oid relid, IdemTargetUse use,
							 bool keyed);
extern void idem_target_find_version(IdemTarget *target, bool expected);
extern void idem_target_close(IdemTarget *target);
pg_noreturn extern void idem_target_error_kept(const IdemTarget *target,
											   const char *id,
											   const char *hint);
extern Form_pg_attribute idem_target_attribute(const IdemTarget *target,
											   AttrNumber number);
extern AttrNumber idem_target_need_column(const IdemTarget *target,
										  const char *name);
extern bool idem_target_has_key_column(const IdemTarget *target,
									   AttrNumber number);

#endif							/* IDEM_TARGET_H */
