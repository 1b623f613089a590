/*
 * target_check.h
 *	  Which relations a call may be made for, and what their triggers may do to
 *	  a row.
 */
#ifndef IDEM_TARGET_CHECK_H
#define IDEM_TARGET_CHECK_H

#include "utils/relcache.h"

/* What a call is to do with a table. */
typedef enum IdemTargetUse
{
	IDEM_TARGET_UPSERT,
	IDEM_TARGET_UPDATE,
	IDEM_TARGET_TRANSITION,
	IDEM_TARGET_ATTACH,			/* idem_attach() and idem_detach() */
	IDEM_TARGET_ALLOWED,		/* idem_allowed() */
	IDEM_TARGET_HISTORY			/* idem_history() */
} IdemTargetUse;

extern void idem_target_check_kind(Relation rel, IdemTargetUse use);
extern void idem_target_check(Relation rel, IdemTargetUse use, bool keyed);
extern bool idem_target_check_alters(Relation rel);
extern bool idem_target_check_alters_now(Relation rel);
extern bool idem_target_check_fills(Relation rel, bool partitions);

#endif							/* IDEM_TARGET_CHECK_H */
