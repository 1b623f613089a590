/*
 * target_check.h
 *	  Tables as calls write to them.
 */
#ifndef IDEM_TARGET_CHECK_H
#define IDEM_TARGET_CHECK_H

#include "access/attnum.h"
#include "utils/relcache.h"

/* What a call is to do with a table. */
typedef enum IdemTargetUse
{
	IDEM_TARGET_UPSERT,
	IDEM_TARGET_UPDATE
} IdemTargetUse;

extern void idem_target_check(Relation rel, IdemTargetUse use, bool keyed);
extern AttrNumber idem_target_check_version(Relation rel, bool expected,
											bool *unraised);
extern bool idem_target_check_alters(Relation rel);
extern bool idem_target_check_alters_now(Relation rel);
extern bool idem_target_check_fills(Relation rel, bool partitions);

#endif							/* IDEM_TARGET_CHECK_H */
