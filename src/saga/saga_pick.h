/*
 * saga_pick.h
 *	  Finding steps that are due, those first that have been for longest.
 */
#ifndef IDEM_SAGA_PICK_H
#define IDEM_SAGA_PICK_H

#include "datatype/timestamp.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"

typedef struct IdemSagaPickSource IdemSagaPickSource;

/* A search under way.  All of it is private to saga_pick.c. */
typedef struct IdemSagaPick
{
	Relation	rel;
	Relation	index;			/* or NULL */
	Snapshot	snapshot;		/* that keeps what is read where it is */
	SnapshotData not_vacuumable;	/* sees what somebody may see */
	TimestampTz now;			/* what is due by then */
	int			nsources;
	IdemSagaPickSource *sources;	/* one a work */
} IdemSagaPick;

/* A step that seems to be due. */
typedef struct IdemSagaPicked
{
	text	   *saga;
	text	   *scope;
} IdemSagaPicked;

extern void idem_saga_pick_begin(IdemSagaPick *pick, text *scope, text *const *works,
								 int nworks, TimestampTz now);
extern bool idem_saga_pick_next(IdemSagaPick *pick, IdemSagaPicked *picked);
extern void idem_saga_pick_end(IdemSagaPick *pick);

#endif							/* IDEM_SAGA_PICK_H */
