/*
 * row_diff.c
 *	  How rows differ between two states, told as JSON.
 *
 * So that the answer stays one that people can read and a server can hold, only
 * the first rows are listed, fewer if they are long.  The rest is counted, as are
 * the rows that the caller may not read.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/syscache.h"

#include "base/compat.h"
#include "check/row_diff.h"

/* So many rows are listed, of all tables together. */
#define MAX_LISTED		100

/* No row is listed beyond that length, nor one that is longer itself. */
#define MAX_LENGTH		(10 * 1024 * 1024)	/* bytes */

void
idem_row_diff_init(IdemRowDiff *all)
{
	memset(all, 0, sizeof(IdemRowDiff));
	initStringInfo(&all->json);
}

/* Begins an object about a table. */
static void
begin_object(StringInfo json, const char *table)
{
	appendStringInfoString(json, json->len > 0 ? ", {\"table\": " : "{\"table\": ");
	escape_json(json, table);
}

/* Appends an object about rows of a table that are not listed. */
static void
append_note(StringInfo json, const char *table, const char *rows,
			const char *note)
{
	begin_object(json, table);
	appendStringInfo(json, ", \"rows\": %s, \"note\": ", rows);
	escape_json(json, note);
	appendStringInfoChar(json, '}');
}

/* Tells of a table that was not looked at, and why. */
void
idem_row_diff_unseen(IdemRowDiff *all, const char *table, const char *why)
{
	append_note(&all->json, table, "null", why);
	all->unseen = true;
}

/* Appends a record as a field of an object. */
static void
append_record(StringInfo json, const char *name, Datum record, bool isnull)
{
	appendStringInfo(json, ", \"%s\": ", name);
	if (isnull)
		appendStringInfoString(json, "null");
	else
	{
		text	   *object = DatumGetTextPP(DirectFunctionCall1(row_to_json,
																record));

		appendBinaryStringInfo(json, VARDATA_ANY(object),
							   VARSIZE_ANY_EXHDR(object));
	}
}

/* How long a row is as it is stored; its JSON is longer, but of that order. */
static Size
length_of(Datum record, bool is_there)
{
	return is_there ? VARSIZE_ANY(DatumGetPointer(record)) : 0;
}

/* Lists a row that differs, as long as there is space; true if it did. */
static bool
list_row(IdemRowDiff *all, const IdemRowImages *images,
		 const IdemImageGroup *group, bool before, bool after)
{
	if (all->listed >= MAX_LISTED || all->json.len > MAX_LENGTH ||
		length_of(group->before, before) > MAX_LENGTH ||
		length_of(group->after, after) > MAX_LENGTH)
		return false;
	begin_object(&all->json, images->table);
	append_record(&all->json, "key", group->key, images->key == NULL);
	append_record(&all->json, "before", group->before, !before);
	append_record(&all->json, "after", group->after, !after);
	appendStringInfoChar(&all->json, '}');
	all->listed++;
	return true;
}

/* Are all types of the columns still there? */
static bool
types_exist(TupleDesc desc)
{
	for (int i = 0; i < desc->natts; i++)
	{
		if (!SearchSysCacheExists1(TYPEOID,
								   ObjectIdGetDatum(TupleDescAttr(desc, i)->atttypid)))
			return false;
	}
	return true;
}

/* Tells how the rows of a table differ. */
void
idem_row_diff_report(IdemRowDiff *all, IdemRowImages *images)
{
	const char *hidden = images->hidden;
	uint64		unlisted = 0;
	IdemImageGroup group;

	if (hidden == NULL && !types_exist(images->row))
		hidden = "rows of types that were undone";

	while (idem_row_images_next(images, &group))
	{
		uint64		pairs = Min(group.nbefore, group.nafter);

		/* of rows that differ there is but one pair */
		if (group.differ)
			pairs = 0;
		all->rewritten += pairs;
		for (uint64 i = pairs; i < Max(group.nbefore, group.nafter); i++)
		{
			all->differing++;
			if (hidden != NULL ||
				!list_row(all, images, &group,
						  i < group.nbefore, i < group.nafter))
				unlisted++;
		}
	}
	if (unlisted > 0)
		append_note(&all->json, images->table,
					psprintf(UINT64_FORMAT, unlisted),
					hidden != NULL ? hidden : "more rows that differ");
}
