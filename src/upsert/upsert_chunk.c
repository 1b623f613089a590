/*
 * upsert_chunk.c
 *	  Upserts of a set that are run together.
 *
 * They are a stretch of the set, in the order of the keys: upserts whose rows are
 * inserted by one plan without running it (insert_direct.c), under keys that are new,
 * and such as have been made before, whose answers are there to be read
 * (key_many.c).  Each is begun when those before it are done, as single calls are.
 * What differs is when the rows of the keys are written: at the end.  Nothing of users
 * runs in between that could tell, since rows whose making takes triggers, or
 * functions of users, are not inserted like that, and other sessions meet the lock of
 * the key until then.
 *
 * The first upsert for which anything else is to be done ends the stretch, and is
 * left to be run alone: a key that another session has, or has expired, was used
 * before in this stretch, is another role's or another request's; a row of other
 * columns, or one that is there.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "key/current_key.h"
#include "key/key_many.h"
#include "upsert/upsert_chunk.h"
#include "upsert/upsert_exec.h"

/* So many members at most are looked at together, those that are replays included. */
#define MAX_MEMBERS		(4 * IDEM_KEY_MANY_MAX)

/* An upsert, and its key. */
typedef struct NewRow
{
	IdemKey		key;
	IdemUpsertCall call;
} NewRow;

/* A stretch of the set. */
typedef struct Stretch
{
	const IdemUpsertSet *set;
	IdemUpsertMember **members;
	int			most;			/* members that it may have */
	int			length;			/* those that are answered */
	IdemUpsertCurrent *current; /* the one that an error is about */
	IdemKeyMany keys;
	IdemUpsertMember *inserted[IDEM_KEY_MANY_MAX];	/* theirs */
	const IdemUpsert *kind;		/* the first whose row is inserted; NULL: none
								 * is */
	NewRow	   *row;			/* whose work is under way; NULL: none */
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

/* Is the upsert one that those before it are made like? */
static bool
may_insert(const Stretch *stretch, const IdemUpsert *upsert)
{
	if (stretch->kind == NULL)
		return idem_upsert_exec_keeps_inserting(upsert);
	return stretch->keys.count < IDEM_KEY_MANY_MAX &&
		same_names(stretch->kind->spec.fields, upsert->spec.fields);
}

/*
 * Answers the next members, up to one whose row is to be inserted, and begins the
 * work of that.  False if the stretch ends before there is one.
 */
static bool
begin_next(Stretch *stretch)
{
	IdemUpsertMember **members = stretch->members;

	stretch->row = NULL;
	for (; stretch->length < stretch->most; stretch->length++)
	{
		IdemUpsertMember *member = members[stretch->length];
		NewRow	   *row;

		CHECK_FOR_INTERRUPTS();
		if (stretch->length > 0 && same_key(members[stretch->length - 1], member))
			break;
		stretch->current->member = member;
		row = palloc(sizeof(NewRow));
		idem_upsert_set_prepare(stretch->set, member, &row->key, &row->call);
		switch (idem_key_many_add(&stretch->keys, &row->key,
								  may_insert(stretch, &row->call.upsert),
								  &member->answer))
		{
			case IDEM_KEY_TO_BE_DONE:
				idem_current_key_begin(&row->key);
				member->replayed = false;
				stretch->row = row;
				return true;
			case IDEM_KEY_DONE:
				member->replayed = true;
				break;
			case IDEM_KEY_BY_ITSELF:
				return false;
		}
	}
	return false;
}

static Datum
next_data(const Stretch *stretch)
{
	return JsonbPGetDatum(idem_upsert_call_data(&stretch->row->call));
}

/* The row of the next member is inserted.  Is there another? */
static bool
row_inserted(void *state, Jsonb *inserted, Datum *data)
{
	Stretch    *stretch = state;
	IdemUpsertMember *member = stretch->members[stretch->length];

	idem_answer_set(&member->answer, IDEM_INSERTED, inserted);
	idem_current_key_end(&stretch->row->key);
	stretch->inserted[stretch->keys.done] = member;
	idem_key_many_done(&stretch->keys, &member->answer);
	stretch->length++;
	if (!begin_next(stretch))
		return false;
	*data = next_data(stretch);
	return true;
}

/* Inserts rows, from the one whose work has begun. */
static void
insert_rows(Stretch *stretch)
{
	IdemInsertRows rows = {.next = row_inserted, .state = stretch};

	stretch->kind = &stretch->row->call.upsert;
	rows.data = next_data(stretch);
	(void) idem_upsert_exec_rows(stretch->kind, &rows);
	/* one that is there, or is to be inserted by the executor */
	if (stretch->row != NULL)
		idem_current_key_end(&stretch->row->key);
}

/* Writes the rows of the keys. */
static void
finish_keys(Stretch *stretch)
{
	IdemUpsertCurrent *current = stretch->current;

	current->at = &stretch->keys.at;
	current->count = stretch->keys.done;
	current->members = stretch->inserted;
	idem_key_many_finish(&stretch->keys);
	current->members = NULL;
}

/*
 * Runs the first of some members, which are in the order of their keys, together;
 * returns how many, which may be none.
 */
int
idem_upsert_chunk_run(const IdemUpsertSet *set, IdemUpsertMember **members,
					  int count, IdemUpsertCurrent *current)
{
	Stretch		stretch = {
		.set = set, .members = members, .current = current,
		.most = Min(count, MAX_MEMBERS)
	};

	idem_key_many_begin(&stretch.keys);
	if (begin_next(&stretch))
		insert_rows(&stretch);
	finish_keys(&stretch);
	return stretch.length;
}
