/*
 * row_images.h
 *	  The rows of one table that were written, as they were before and after.
 */
#ifndef IDEM_ROW_IMAGES_H
#define IDEM_ROW_IMAGES_H

#include "access/tupdesc.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "utils/relcache.h"
#include "utils/tuplesort.h"

typedef struct IdemRowImages
{
	const char *table;			/* qualified name */
	TupleDesc	row;			/* the columns that hold something, blessed */
	TupleDesc	key;			/* those of the primary key; NULL if none */
	const char *hidden;			/* why rows must not be shown; NULL if they
								 * may */
	/* private to row_images.c */
	int			keys[INDEX_MAX_KEYS];	/* where in row those of key are */
	Tuplesortstate *sort;		/* NULL before the first row */
	TupleDesc	entry;			/* of what is sorted */
	TupleTableSlot *slot;		/* for one entry */
	bool		sorted;
	bool		fetched;		/* does slot hold the first of a group? */
	MemoryContext scratch;		/* for one row, or for one group */
	FmgrInfo	image_ne;		/* record_image_ne() */
} IdemRowImages;

/* The rows with one primary key; where there is none, rows that are equal. */
typedef struct IdemImageGroup
{
	Datum		key;
	uint64		nbefore;		/* at most 1 where there is a primary key */
	uint64		nafter;
	Datum		before;			/* a row as it was before, if nbefore > 0 */
	Datum		after;
	bool		differ;			/* are they both there, and not the same? */
} IdemImageGroup;

extern IdemRowImages *idem_row_images_open(const char *table, Relation rel);
extern void idem_row_images_restrict(IdemRowImages *images, Relation rel);
extern AttrNumber *idem_row_images_map(const IdemRowImages *images,
									   Relation rel);
extern void idem_row_images_add(IdemRowImages *images, TupleTableSlot *slot,
								const AttrNumber *map, bool after);
extern bool idem_row_images_next(IdemRowImages *images, IdemImageGroup *group);
extern void idem_row_images_close(IdemRowImages *images);

#endif							/* IDEM_ROW_IMAGES_H */
