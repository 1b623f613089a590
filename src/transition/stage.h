/*
 * stage.h
 *	  A table in which transitions bring rows into a state.
 */
#ifndef IDEM_STAGE_H
#define IDEM_STAGE_H

#include "utils/relcache.h"

#include "base/unique.h"
#include "table/follow.h"
#include "table/rowid.h"

/* A table that follows a machine, and the state wanted; for one call. */
typedef struct IdemStage
{
	Relation	rel;
	IdemLifecycle lifecycle;	/* with the machine that it follows */
	IdemUnique	key;			/* tells its rows apart */
	const char *to;				/* the state */
	/* what the statements take: the key's columns, the state, the ticket */
	Oid			types[INDEX_MAX_KEYS + 2];
	Datum		args[INDEX_MAX_KEYS + 2];
} IdemStage;

/* The statements.  Each returns the state and the version. */
typedef enum IdemStageStatement
{
	IDEM_STAGE_LOCK,			/* a row by its key */
	IDEM_STAGE_UPDATE			/* it, if _idem_change_met() says so */
} IdemStageStatement;

extern void idem_stage_open(IdemStage *stage, Oid target, const char *machine,
							const char *to, bool keyed);
extern void idem_stage_aim(IdemStage *stage, const IdemRowId *id);
extern void idem_stage_show(IdemStage *stage, int64 ticket);
extern void idem_stage_close(IdemStage *stage);
extern const char *idem_stage_name(const IdemStage *stage);
extern Oid	idem_stage_state_type(const IdemStage *stage);
extern const char *idem_stage_state_text(const IdemStage *stage, Datum state);
extern bool idem_stage_run(IdemStage *stage, IdemStageStatement which,
						   const char **state, int64 *version);

#endif							/* IDEM_STAGE_H */
