/*
 * upsert_target.h
 *	  What an upsert has to know of the table it writes to.
 */
#ifndef IDEM_UPSERT_TARGET_H
#define IDEM_UPSERT_TARGET_H

#include "table/target.h"
#include "upsert/merge.h"
#include "upsert/upsert_deparse.h"

/* What is known of the table while its statements are being written. */
typedef struct IdemUpsertTarget
{
	IdemTarget	table;			/* its key is the arbiter of ON CONFLICT */
	const IdemUpsertSpec *spec;
	int			nfields;
	AttrNumber *fields;			/* columns that the data names */
	IdemMergeRule *rules;		/* how each of them is merged */
	bool		has_arbiter;	/* may the row be there already, by the
								 * arbiter? */
	bool		named;			/* does the data name all columns of the
								 * arbiter? */
	bool		collated;		/* does the arbiter compare by other
								 * collations than its columns? */
} IdemUpsertTarget;

extern void idem_upsert_target_open(IdemUpsertTarget *target,
									const IdemUpsertSpec *spec);
extern bool idem_upsert_target_has_field(const IdemUpsertTarget *target,
										 AttrNumber number);
extern bool idem_upsert_target_updates(const IdemUpsertTarget *target,
									   AttrNumber number);

extern bool idem_upsert_target_nulls_equal(const IdemUpsertSpec *spec);
extern bool idem_upsert_target_fills(const IdemUpsertSpec *spec);
extern List *idem_upsert_target_key(const IdemUpsertSpec *spec);
extern List *idem_upsert_target_updated(const IdemUpsertSpec *spec);

#endif							/* IDEM_UPSERT_TARGET_H */
