/*
 * saga_key.c
 *	  The keys of a saga's steps: who holds one, and how that ends.
 *
 * Each step has two keys in a scope of idem's own, one to do it and one to undo it.
 * They are claims like any other (key/): lease, fence, checkpoints and takeover are
 * there.  They belong to the saga's owner, whichever of its members claims them, and
 * stay until the saga is purged.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/fingerprint.h"
#include "key/key_generate.h"
#include "key/key_init.h"
#include "key/lease.h"
#include "key/lease_claim.h"
#include "key/scope.h"
#include "saga/saga_key.h"

/* The key of a step, as idem_derive_key() makes it of the same parts. */
static text *
derive(const IdemSaga *saga, int step, bool undo)
{
	text	   *parts[] = {
		saga->scope, saga->saga, cstring_to_text(psprintf("%d", step)),
		cstring_to_text(undo ? "undo" : "do")
	};

	return idem_key_generate_derived(parts, lengthof(parts));
}

/* The key to do a step, or to undo it, ready to be claimed. */
void
idem_saga_key_init(IdemKey *key, const IdemSaga *saga, int step, bool undo)
{
	Jsonb	   *request = idem_saga_json_request(saga, step, undo);
	IdemFingerprint fp;

	idem_key_init_own(key, IDEM_SCOPE_SAGA, derive(saga, step, undo), saga->owner);
	key->request = JsonbPGetDatum(request);
	idem_fingerprint_init(&fp, "saga");
	idem_fingerprint_jsonb(&fp, request);
	key->fingerprint = idem_fingerprint_value(&fp);
}

/* The row of a key by its name, as committed now; false if there is none. */
bool
idem_saga_key_find(text *name, IdemKeyRow *row)
{
	return idem_key_table_find(cstring_to_text(IDEM_SCOPE_SAGA), name,
							   GetCurrentTimestamp(),
							   IDEM_WITH_VALUES | IDEM_COMMITTED,
							   row) != IDEM_KEY_ABSENT;
}

/* Does a session hold a key, and until when? */
bool
idem_saga_key_held(const IdemSaga *saga, int step, bool undo,
				   TimestampTz *lease_until)
{
	IdemKeyRow	row;
	IdemKeyState found;

	found = idem_key_table_find(cstring_to_text(IDEM_SCOPE_SAGA),
								derive(saga, step, undo), GetCurrentTimestamp(),
								IDEM_COMMITTED, &row);
	*lease_until = row.lease_until;
	return found == IDEM_KEY_LIVE && row.outcome == IDEM_IN_PROGRESS;
}

/*
 * Claims a key, without waiting.  False if another session holds it or works with
 * it, or it has ended.
 */
bool
idem_saga_key_claim(IdemKey *key, Interval *lease, IdemKeyRow *row)
{
	key->lease = lease;
	return idem_lease_claim(key, false, row) && row->outcome == IDEM_CLAIMED;
}

/*
 * Takes the key over by which a step is done, or undone, and ends it: from then on no
 * session can report that, nor begin it.  False if a session holds it, or works with
 * it.
 */
bool
idem_saga_key_take_over(const IdemSaga *saga, int step, bool undo)
{
	static Interval moment = {.time = USECS_PER_MINUTE};
	IdemKey		key;
	IdemKeyRow	row;

	idem_saga_key_init(&key, saga, step, undo);
	key.lease = &moment;
	if (!idem_lease_claim(&key, false, &row))
		return false;
	if (row.outcome != IDEM_CLAIMED)
		return row.outcome != IDEM_IN_PROGRESS;
	return idem_lease_end(&key, &row.fence, IDEM_FAILED,
						  JsonbPGetDatum(idem_saga_json_reason("taken over", 0)));
}

/* Ends the claim of a key.  Raises what idem_lease_end raises. */
void
idem_saga_key_end(text *name, const IdemSaga *saga, int64 fence,
				  IdemOutcome outcome, Jsonb *response)
{
	IdemKey		key;

	idem_key_init_own(&key, IDEM_SCOPE_SAGA, name, saga->owner);
	(void) idem_lease_end(&key, &fence, outcome, JsonbPGetDatum(response));
}

/* Gives up the claim of a key.  Raises what idem_lease_release raises. */
void
idem_saga_key_release(text *name, const IdemSaga *saga, int64 fence)
{
	IdemKey		key;

	idem_key_init_own(&key, IDEM_SCOPE_SAGA, name, saga->owner);
	(void) idem_lease_release(&key, &fence, false);
}
