/*
 * upsert_target.h
 *	  What an upsert has to know of the table it writes to.
 */
#ifndef IDEM_UPSERT_TARGET_H
#define IDEM_UPSERT_TARGET_H

#include "catalog/pg_attribute.h"
#include "utils/relcache.h"

#include "base/unique_index.h"
#include "upsert/merge.h"
#include "upsert/upsert_deparse.h"

/* What is known of the table while its statements are being written. */
typedef struct IdemUpsertTarget
{
	Relation	rel;
	const IdemUpsertSpec *spec;
	int			nfields;
	AttrNumber *fields;			/* columns that the data names */
	IdemMergeRule *rules;		/* how each of them is merged */
	IdemUniqueIndex arbiter;	/* tells rows of the table apart */
	bool		has_arbiter;	/* may the row be there already, by the
								 * arbiter? */
	bool		named;			/* does the data name all columns of the
								 * arbiter? */
	bool		collated;		/* does the arbiter compare by other
								 * collations than its columns? */
	AttrNumber	managed;		/* column with the version, if any; what the
								 * data says of it counts for new rows only */
	const char *version;		/* its name; NULL: no version is expected */
	bool		raise_version;	/* is raising it left to us? */
} IdemUpsertTarget;

extern void idem_upsert_target_open(IdemUpsertTarget *target, const IdemUpsertSpec *spec);
extern Form_pg_attribute idem_upsert_target_attribute(const IdemUpsertTarget *target,
													  AttrNumber number);
extern const char *idem_upsert_target_name(const IdemUpsertTarget *target,
										   AttrNumber number);
extern bool idem_upsert_target_has_field(const IdemUpsertTarget *target,
										 AttrNumber number);
extern bool idem_upsert_target_updates(const IdemUpsertTarget *target, AttrNumber number);

#endif							/* IDEM_UPSERT_TARGET_H */
