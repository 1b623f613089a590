/*
 * upsert_run.h
 *	  An upsert under way, and running its statements.
 */
#ifndef IDEM_UPSERT_RUN_H
#define IDEM_UPSERT_RUN_H

#include "lib/stringinfo.h"
#include "utils/jsonb.h"

#include "run/spi_caller.h"
#include "table/row_version.h"
#include "upsert/conflict_row.h"
#include "upsert/insert_direct.h"
#include "upsert/upsert_deparse.h"

/* One upsert, as it was asked for. */
typedef struct IdemUpsert
{
	IdemUpsertSpec spec;
	Jsonb	   *data;
	Jsonb	   *merge;			/* NULL: none */
	IdemRowVersion expected;	/* exists if spec.versioned */
} IdemUpsert;

/* An upsert that is under way. */
typedef struct IdemUpsertState
{
	const IdemUpsert *upsert;
	StringInfoData signature;	/* of its statements */
	IdemConflictRow conflict;
} IdemUpsertState;

/* What former upserts have shown, kept with the plan of IDEM_UPSERT_WRITE. */
typedef struct IdemUpsertExperience
{
	int			insert_streak;	/* new rows in succession, as far as it
								 * matters */
	bool		no_insert;		/* is there no IDEM_UPSERT_INSERT? */

	/*
	 * Is a row that is to have a version to be met by an insert all the same,
	 * since the table has a say in its key?
	 */
	bool		by_insert;
} IdemUpsertExperience;

extern const IdemOperation idem_upsert_run_operation;

extern void idem_upsert_run_init(IdemUpsertState *state,
								 const IdemUpsert *upsert);
extern IdemPlan *idem_upsert_run_plan(IdemUpsertState *state,
									  IdemUpsertStatement which);
extern uint64 idem_upsert_run(const IdemUpsertState *state, IdemPlan *plan,
							  Jsonb *data, int ncols, Datum *values,
							  bool *isnull);
extern bool idem_upsert_run_insert(IdemUpsertState *state, IdemPlan *plan,
								   Datum *row, bool *isnull);
extern bool idem_upsert_run_insert_rows(IdemUpsertState *state, IdemPlan *plan,
										IdemInsertRows *rows);
extern IdemUpsertExperience idem_upsert_run_experience(IdemUpsertState *state);
extern void idem_upsert_run_learn(IdemUpsertState *state,
								  const IdemUpsertExperience *experience);

extern const char *idem_upsert_run_row_name(const IdemUpsert *upsert, Jsonb *row);

#endif							/* IDEM_UPSERT_RUN_H */
