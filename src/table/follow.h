/*
 * follow.h
 *	  Which state machine a table follows, and which column holds the version.
 */
#ifndef IDEM_FOLLOW_H
#define IDEM_FOLLOW_H

#include "access/attnum.h"
#include "utils/relcache.h"
#include "utils/reltrigger.h"

/* How a table follows a machine: what the arguments of its triggers say. */
typedef struct IdemLifecycle
{
	const char *machine;		/* name of the machine */
	AttrNumber	status;			/* column with the state */
	AttrNumber	version;		/* column with the version */
} IdemLifecycle;

extern void idem_follow_read(IdemLifecycle *lifecycle, Relation rel,
							 const Trigger *trigger);
extern bool idem_follow_try(IdemLifecycle *lifecycle, Relation rel,
							const Trigger *trigger);
extern bool idem_follow_find(IdemLifecycle *lifecycle, Relation rel);
extern Oid	idem_follow_origin(Relation rel);
extern AttrNumber idem_follow_read_version(Relation rel,
										   const Trigger *trigger);
extern AttrNumber idem_follow_version(Relation rel);
extern bool idem_follow_find_any(IdemLifecycle *lifecycle, Relation rel);
extern bool idem_follow_records(Relation rel);
extern void idem_follow_check_version(Relation rel, AttrNumber column);

#endif							/* IDEM_FOLLOW_H */
