/*
 * upsert_chunk.c
 *	  Upserts of a set that are run together.
 *
 * They are a stretch of the set, in the order of the keys: upserts whose rows are
 * inserted by one plan without running it (insert_direct.c), under keys that are new,
 * and such as have been made before, whose answers are there to be read
 * (key_many.c).  What differs between them and single calls is when: the keys are
 * locked, then the rows inserted, then the keys' rows.  Nothing of users runs in
 * between that could tell, since rows whose making takes triggers, or functions of
 * users, are not inserted like that.
 *
 * The first upsert for which anything else is to be done ends the stretch, and is
 * left to be run alone: a key that another session has, or has expired, was used
 * before in this stretch, is another role's or another request's; a row of other
 * columns, or one that is there.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "base/routed.h"
#include "key/current_key.h"
#include "key/key_many.h"
#include "upsert/upsert_chunk.h"
#include "upsert/upsert_exec.h"

/* So many members at most are looked at together, those that are replays included. */
#define MAX_MEMBERS		(4 * IDEM_KEY_MANY_MAX)

/* An upsert to be made. */
typedef struct NewRow
{
	int			member;			/* its place in the stretch */
	IdemKey		key;
	IdemUpsertCall call;
} NewRow;

/* A stretch of the set. */
typedef struct Stretch
{
	const IdemUpsertSet *set;
	IdemUpsertMember **members;
	IdemUpsertCurrent *current; /* the one that an error is about */
	IdemKeyMany keys;
	int			count;			/* rows that are to be inserted */
	NewRow	   *rows[IDEM_KEY_MANY_MAX];
} Stretch;

static bool
same_key(const IdemUpsertMember *a, const IdemUpsertMember *b)
{
	Size		length = VARSIZE_ANY_EXHDR(a->key);

	return length == VARSIZE_ANY_EXHDR(b->key) &&
		memcmp(VARDATA_ANY(a->key), VARDATA_ANY(b->key), length) == 0;
}

/* Are they the same names, in the same order? */
static bool
same_names(const List *a, const List *b)
{
	ListCell   *la;
	ListCell   *lb;

	if (list_length(a) != list_length(b))
		return false;
	forboth(la, a, lb, b)
	{
		if (strcmp(lfirst(la), lfirst(lb)) != 0)
			return false;
	}
	return true;
}

/* May a row be inserted together with those before it? */
static bool
may_insert(const Stretch *stretch, const IdemUpsert *upsert)
{
	const IdemUpsert *first;

	if (stretch->count == 0)
		return idem_upsert_exec_keeps_inserting(upsert);
	if (stretch->count == IDEM_KEY_MANY_MAX)
		return false;
	first = &stretch->rows[0]->call.upsert;
	return same_names(first->spec.fields, upsert->spec.fields);
}

/* Adds a member to the stretch; false if it is to be run alone. */
static bool
add_member(Stretch *stretch, int i)
{
	IdemUpsertMember *member = stretch->members[i];
	NewRow	   *row = palloc(sizeof(NewRow));

	stretch->current->member = member;
	row->member = i;
	idem_upsert_set_prepare(stretch->set, member, &row->key, &row->call);
	switch (idem_key_many_add(&stretch->keys, &row->key,
							  may_insert(stretch, &row->call.upsert),
							  &member->answer))
	{
		case IDEM_KEY_TO_BE_DONE:
			member->replayed = false;
			stretch->rows[stretch->count++] = row;
			return true;
		case IDEM_KEY_DONE:
			member->replayed = true;
			return true;
		case IDEM_KEY_BY_ITSELF:
			break;
	}
	return false;
}

/* The next row is about to be inserted. */
static void
before_row(void *state, int i)
{
	Stretch    *stretch = state;

	if (i > 0)
		idem_current_key_end(&stretch->rows[i - 1]->key);
	idem_current_key_begin(&stretch->rows[i]->key);
	stretch->current->member = stretch->members[stretch->rows[i]->member];
}

/* Inserts the rows, up to the first that is there; returns how many. */
static int
insert_rows(Stretch *stretch)
{
	Datum		data[IDEM_KEY_MANY_MAX];
	Jsonb	   *inserted[IDEM_KEY_MANY_MAX];
	IdemInsertRows rows = {
		.count = stretch->count, .data = data, .before = before_row,
		.state = stretch, .inserted = inserted
	};

	if (stretch->count == 0)
		return 0;
	for (int i = 0; i < stretch->count; i++)
		data[i] = JsonbPGetDatum(idem_upsert_call_data(&stretch->rows[i]->call));
	if (!idem_upsert_exec_rows(&stretch->rows[0]->call.upsert, &rows))
		return 0;
	idem_current_key_end(&stretch->rows[Min(rows.done, rows.count - 1)]->key);
	for (int i = 0; i < rows.done; i++)
		idem_answer_set(&stretch->members[stretch->rows[i]->member]->answer,
						IDEM_INSERTED, inserted[i]);
	return rows.done;
}

/* Writes the rows of the first so many keys. */
static void
finish_keys(Stretch *stretch, int count, int replays)
{
	IdemUpsertMember *members[IDEM_KEY_MANY_MAX];
	IdemAnswer *answers[IDEM_KEY_MANY_MAX];

	for (int i = 0; i < count; i++)
	{
		members[i] = stretch->members[stretch->rows[i]->member];
		answers[i] = &members[i]->answer;
	}
	stretch->keys.at = 0;
	stretch->current->at = &stretch->keys.at;
	stretch->current->count = count;
	stretch->current->members = members;
	idem_key_many_finish(&stretch->keys, count, answers, replays);
	stretch->current->members = NULL;
}

/*
 * Runs the first of some members, which are in the order of their keys, together;
 * returns how many, which may be none.
 */
int
idem_upsert_chunk_run(const IdemUpsertSet *set, IdemUpsertMember **members,
					  int count, IdemUpsertCurrent *current)
{
	Stretch		stretch = {.set = set, .members = members, .current = current};
	int			length = 0;
	int			inserted;

	/* statements that an engine may send elsewhere are about one row */
	if (set->key.store != NULL || idem_routed(set->call.upsert.spec.target))
		return 0;
	count = Min(count, MAX_MEMBERS);
	idem_key_many_begin(&stretch.keys);
	while (length < count &&
		   (length == 0 || !same_key(members[length - 1], members[length])) &&
		   add_member(&stretch, length))
		length++;
	idem_key_many_ready(&stretch.keys);

	inserted = insert_rows(&stretch);
	if (inserted < stretch.count)
		length = stretch.rows[inserted]->member;
	finish_keys(&stretch, inserted, length - inserted);
	return length;
}
