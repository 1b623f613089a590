/*
 * target.h
 *	  What an upsert has to know of the table it writes to.
 */
#ifndef IDEM_TARGET_H
#define IDEM_TARGET_H

#include "catalog/pg_attribute.h"
#include "utils/relcache.h"

#include "base/unique.h"
#include "upsert/merge.h"
#include "upsert/shape.h"

/* What is known of the table while its statements are being written. */
typedef struct IdemTarget
{
	Relation	rel;
	const IdemShape *shape;
	int			nfields;
	AttrNumber *fields;			/* columns that the data names */
	IdemMergeRule *rules;		/* how each of them is merged */
	IdemUnique	arbiter;		/* tells rows of the table apart */
	bool		has_arbiter;	/* may the row be there already, by the
								 * arbiter? */
	bool		named;			/* does the data name all columns of the
								 * arbiter? */
	bool		collated;		/* does the arbiter compare by other collations
								 * than its columns? */
	AttrNumber	managed;		/* column with the version, if any; what the
								 * data says of it counts for new rows only */
	const char *version;		/* its name; NULL: no version is expected */
	bool		raise_version;	/* is raising it left to us? */
} IdemTarget;

extern void idem_target_open(IdemTarget *target, const IdemShape *shape);
extern Form_pg_attribute idem_target_attribute(const IdemTarget *target,
											   AttrNumber number);
extern const char *idem_target_name(const IdemTarget *target,
									AttrNumber number);
extern bool idem_target_has_field(const IdemTarget *target,
								  AttrNumber number);
extern bool idem_target_updates(const IdemTarget *target, AttrNumber number);

#endif							/* IDEM_TARGET_H */
