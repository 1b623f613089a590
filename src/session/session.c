/*
 * session.c
 *	  The transaction that has a key: whether it is recorded or replayed.
 *
 * The first transaction under a key records what its statements answer, and writes
 * that down as the row of the key just before it commits, after deferred triggers.  One
 * that finds such a row replays: its statements are looked for in the record, each as
 * often as it is there, in any order, and answered from it.
 *
 * All state belongs to the transaction, and goes with it.
 */
#include "postgres.h"

#include "access/parallel.h"
#include "access/xact.h"
#include "executor/execdesc.h"
#include "fmgr.h"
#include "tcop/pquery.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/portal.h"
#include "utils/snapmgr.h"

#include "base/error.h"
#include "base/fingerprint.h"
#include "key/current_key.h"
#include "key/key.h"
#include "key/key_init.h"
#include "key/key_lock.h"
#include "run/sole_call.h"
#include "session/session.h"
#include "stats/stats_counter.h"

PG_FUNCTION_INFO_V1(idem_begin);

IdemSession idem_session;

/* Raises ID001: the transaction is not the one that the key was used for. */
void
idem_session_error_unknown(const char *detail)
{
	idem_stats_counter_hit(IDEM_COUNT_KEY_MISMATCH);
	ereport(ERROR,
			(errcode(ERRCODE_IDEM_KEY_MISMATCH),
			 errmsg("key \"%s\" was used for a different transaction",
					idem_session.key.name),
			 errdetail_internal("%s", _(detail)),
			 errhint("Send exactly the same statements to retry a transaction, or use a new key for a new one.")));
}

/* Raises 55000: a statement writes that is all that its transaction does. */
void
idem_session_error_outside(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("idem.key is set outside a transaction block"),
			 errdetail("A key names one transaction, and each statement would be one of its own."),
			 errhint("Begin a transaction, and use SET LOCAL or idem_begin() in it.")));
}

/* Raises 0A000: a command has written that is not recorded. */
void
idem_session_error_unrecorded(const char *command)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("cannot execute %s in a transaction that has a key, since it has written",
					command),
			 errdetail("What it has written is not recorded, and a retry would write it again."),
			 errhint("Call functions that write in statements of their own.")));
}

pg_noreturn static void
error_late(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
			 errmsg("the key of a transaction must be set before the transaction writes"),
			 errdetail("What it has written already would be written again by a retry."),
			 errhint("Call idem_begin() as the first statement of the transaction, alone.")));
}

pg_noreturn static void
error_second(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("the transaction has a key already"),
			 errdetail("Its key is \"%s\".", idem_session.key.name),
			 errhint("One transaction is one request: use one key, or another transaction.")));
}

/* All transactions have one fingerprint: the record tells them apart. */
static const pg_uuid_t *
fingerprint(void)
{
	static pg_uuid_t value;
	static bool known = false;

	if (!known)
	{
		IdemFingerprint fp;

		idem_fingerprint_init(&fp, "transaction");
		value = idem_fingerprint_value(&fp);
		known = true;
	}
	return &value;
}

/* Claims the key that has been named, or reads what it remembers. */
static void
claim(void)
{
	MemoryContext caller = MemoryContextSwitchTo(idem_session.memory);
	IdemAnswer	answer = {0};
	int			depth = idem_session.depth;
	bool		is_replay;

	Assert(idem_session.named && idem_session.mode == IDEM_SESSION_OFF);
	Assert(idem_session.live == NIL);
	idem_session.key.waited = false;
	idem_session.key.wait_until = 0;
	/* idem's own statements are none of the transaction's */
	idem_session.depth++;
	PG_TRY();
	{
		is_replay = idem_key_begin(&idem_session.key, &answer);
	}
	PG_FINALLY();
	{
		idem_session.depth = depth;
	}
	PG_END_TRY();
	if (is_replay)
	{
		idem_session.entries = idem_record_decode(&answer);
		idem_session.sent = 0;
		idem_session.mode = IDEM_SESSION_REPLAYS;
	}
	else
		idem_session.mode = IDEM_SESSION_RECORDS;
	idem_session.lock_level = GetCurrentTransactionNestLevel();
	MemoryContextSwitchTo(caller);
}

static text *
copy_text(text *value)
{
	return (text *) PG_DETOAST_DATUM_COPY(PointerGetDatum(value));
}

/* The transaction has this key from now on. */
static void
name(const IdemKey *key)
{
	MemoryContext caller;

	if (TransactionIdIsValid(GetTopTransactionIdIfAny()))
		error_late();
	Assert(!idem_session.named);
	if (idem_session.memory == NULL)
		idem_session.memory = AllocSetContextCreate(TopTransactionContext,
													"idem session",
													ALLOCSET_DEFAULT_SIZES);
	caller = MemoryContextSwitchTo(idem_session.memory);
	idem_session.key = *key;
	idem_session.key.scope = copy_text(key->scope);
	idem_session.key.key = copy_text(key->key);
	idem_session.key.name = pstrdup(key->name);
	if (key->store != NULL)
	{
		IdemStore  *store = palloc(sizeof(IdemStore));

		*store = *key->store;
		idem_session.key.store = store;
	}
	if (key->ttl != NULL)
	{
		idem_session.key.ttl = palloc(sizeof(Interval));
		*idem_session.key.ttl = *key->ttl;
	}
	idem_session.key.fingerprint = *fingerprint();
	MemoryContextSwitchTo(caller);
	idem_session.depth = 0;
	idem_session.named = true;
}

/* Does nothing of the client's run, nor a trigger, which may run as it commits? */
static bool
is_outermost(void)
{
	return idem_session.depth == 0 &&
		DatumGetInt32(DirectFunctionCall1(pg_trigger_depth, (Datum) 0)) == 0;
}

/*
 * Is the statement that is about to run one that the client has sent, as far as what
 * runs around it can tell?
 */
bool
idem_session_is_top(void)
{
	return is_outermost() &&
		!(idem_session.starting &&
		  idem_session.starter_time == GetCurrentStatementStartTimestamp());
}

/*
 * Would nothing record what a query writes that is none of the client's statements under
 * the key?  So it is with a cursor that a function has left open or that is older than
 * the key, and with a function that an argument of EXECUTE calls.
 */
bool
idem_session_is_outside(bool is_top)
{
	if (idem_session.starting || !is_outermost())
		return false;
	if (idem_session.named)
		return true;
	return idem_session.mode == IDEM_SESSION_OFF && ActivePortal != NULL &&
		(IsTransactionBlock() || !is_top);
}

/*
 * What has named the key is over, or part of it is.  Raises 25001 where it has written:
 * that was not recorded.
 */
void
idem_session_started(bool over)
{
	if (over)
	{
		idem_session.starting = false;
		idem_session.starter = NULL;
	}
	if (TransactionIdIsValid(GetTopTransactionIdIfAny()))
		error_late();
}

/* Does the transaction go on after the statement that is being run? */
static bool
is_block(void)
{
	return IsTransactionBlock() || (MyXactFlags & XACT_FLAGS_PIPELINING) != 0;
}

/*
 * Has the key claimed, before a statement of the client's runs.  False where there is
 * none to be claimed.  Raises 55000 where a statement that writes would be all that its
 * transaction does, or the key is another one than the transaction began with.
 */
bool
idem_session_ready(bool writes)
{
	if (idem_session.starting)
		idem_session_started(true);
	if (!idem_session.named)
	{
		IdemKey		key;

		if (!is_block() && writes)
			idem_session_error_outside();
		if (!is_block())
			return false;
		idem_key_init_setting(&key, idem_key_setting, "a transaction under idem.key");
		name(&key);
	}
	else if (idem_key_is_given &&
			 strcmp(idem_key_setting, idem_session.key.name) != 0)
		error_second();
	if (idem_session.mode == IDEM_SESSION_OFF)
		claim();
	return true;
}

/* How many writes a recording has that are to stay. */
static int
count_writes(void)
{
	int			count = 0;
	ListCell   *lc;

	foreach(lc, idem_session.entries)
	{
		const IdemEntry *entry = lfirst(lc);

		if (entry->kind == IDEM_ENTRY_WRITE && !entry->undone)
			count++;
	}
	return count;
}

/* Writes down what the transaction did, if there is anything. */
static void
write_record(void)
{
	IdemAnswer	answer = {0};

	if (count_writes() == 0)
	{
		idem_current_key_end(&idem_session.key);
		idem_key_lock_release(&idem_session.key);
		return;
	}
	/* idem's own statement is none of the transaction's */
	idem_session.named = false;
	PushActiveSnapshot(GetTransactionSnapshot());
	idem_answer_set(&answer, IDEM_EXECUTED, idem_record_encode(idem_session.entries));
	idem_key_end(&idem_session.key, &answer);
	PopActiveSnapshot();
}

/*
 * Has all been sent again that the first transaction kept, and nothing been kept that
 * it undid?
 */
static void
check_replay(void)
{
	ListCell   *lc;

	foreach(lc, idem_session.entries)
	{
		const IdemEntry *entry = lfirst(lc);

		if (entry->kind != IDEM_ENTRY_WRITE)
			continue;
		if (!entry->undone && !entry->sent)
			idem_session_error_unknown("The first transaction sent a statement that this one did not send.");
		if (entry->undone && entry->sent)
			idem_session_error_unknown("The first transaction rolled back to a savepoint, and this one did not.");
	}
}

static void
transaction_ends(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
		case XACT_EVENT_PRE_PREPARE:
			if (idem_session.starting)
				idem_session_started(true);
			if (idem_session.mode == IDEM_SESSION_RECORDS)
				write_record();
			else if (idem_session.mode == IDEM_SESSION_REPLAYS)
				check_replay();
			break;
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_PREPARE:
		case XACT_EVENT_ABORT:
			/* what it points to goes with the transaction */
			memset(&idem_session, 0, sizeof(IdemSession));
			break;
		default:
			break;
	}
}

/*
 * Gives the transaction a key, for a function that the client calls.  Returns whether
 * it is a replay.
 */
static bool
begin(const IdemKey *key)
{
	if (!idem_session.named)
	{
		name(key);
		idem_session.starting = true;
		idem_session.starter = ActivePortal == NULL ? NULL : ActivePortal->queryDesc;
		idem_session.starter_time = GetCurrentStatementStartTimestamp();
	}
	else if (strcmp(key->name, idem_session.key.name) != 0 ||
			 key->hash != idem_session.key.hash ||
			 VARSIZE_ANY_EXHDR(key->scope) != VARSIZE_ANY_EXHDR(idem_session.key.scope) ||
			 memcmp(VARDATA_ANY(key->scope), VARDATA_ANY(idem_session.key.scope),
					VARSIZE_ANY_EXHDR(key->scope)) != 0)
		error_second();
	if (idem_session.mode == IDEM_SESSION_OFF)
		claim();
	return idem_session.mode == IDEM_SESSION_REPLAYS;
}

/*
 * idem_begin(key text, scope text, ttl interval) -> boolean
 *
 * Makes the transaction one request: sent again under the key, what it writes does not
 * run again.  Returns whether it was sent before.  Errors: those of idem_key_init and
 * idem_key_run; 25P01 outside a transaction block, 25001 after a write, 55000 for a
 * second key, XX001 and 0A000 of idem_record_decode.
 */
Datum
idem_begin(PG_FUNCTION_ARGS)
{
	IdemKey		key;

	idem_key_init(&key, fcinfo, "idem_begin()", 0, 1, 2);
	if (idem_sole_call(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_NO_ACTIVE_SQL_TRANSACTION),
				 errmsg("idem_begin() outside a transaction block is over at once"),
				 errhint("Begin a transaction, and call it as its first statement.")));
	PG_RETURN_BOOL(begin(&key));
}

/* Listens for the ends of transactions.  To be called once, from _PG_init. */
void
idem_session_init(void)
{
	RegisterXactCallback(transaction_ends, NULL);
}
