/*
 * key.h
 *	  The key store: which call does the work of a key, and what came of it.
 */
#ifndef IDEM_KEY_H
#define IDEM_KEY_H

#include "datatype/timestamp.h"
#include "fmgr.h"
#include "utils/timestamp.h"

#include "key/answer.h"
#include "key/key_table.h"
#include "key/refusal.h"
#include "store/store.h"

/* A key as one call uses it. */
typedef struct IdemKey
{
	text	   *scope;
	text	   *key;
	const char *name;			/* key as a string, for messages */
	Interval   *ttl;			/* how long to keep the result; NULL: idem.ttl */
	const IdemStore *store;		/* where its row is kept; NULL: in idem_key */
	Oid			role;			/* that made the call when it began */
	bool		any_role;		/* keys of any role are for the caller */
	/* to be set before the key is claimed or run */
	pg_uuid_t	fingerprint;	/* of the request */
	bool		fingerprint_isnull; /* for claims: not to be compared */
	Interval   *lease;			/* how long to hold a claim; NULL: no lease */
	Datum		request;		/* of a claim, jsonb; unless
								 * fingerprint_isnull */
	const IdemRefusals *refusals;	/* errors of the work to remember; NULL:
									 * none */
	bool		no_wait;		/* for another transaction that has the key */
	bool		withheld;		/* is the response not to be kept? */
	bool		forever;		/* it does not expire: idem's own deletes it */
	/* set by finding how the key stands */
	TimestampTz now;			/* the clock then */
	TimestampTz expires_at;		/* until when the result is kept */
	TimestampTz lease_until;	/* until when a claim is held */
	/* private to key.c and key_lock.c */
	uint64		hash;			/* names the key in the lock table */
	bool		claims;			/* it is to be kept, for idem.ttl if no ttl */
	TimestampTz wait_until;		/* how long to wait for other sessions; 0: not
								 * set */
	bool		waited;			/* for any of them */
	bool		expired;		/* an expired row is in the way */
	int			misses;			/* so often the row below was not written */
	IdemKeyVersion missed;
} IdemKey;

extern void idem_key_set_clock(IdemKey *key);
extern void idem_key_fill_row(const IdemKey *key, const IdemAnswer *answer,
							  IdemKeyRow *row);
extern bool idem_key_row_is_of(const IdemKeyRow *row, const IdemKey *key);
extern bool idem_key_run(IdemKey *key, IdemKeyWork work, void *call,
						 IdemAnswer *answer);
extern bool idem_key_begin(IdemKey *key, IdemAnswer *answer);
extern void idem_key_end(IdemKey *key, const IdemAnswer *answer);
extern IdemKeyState idem_key_read(const IdemKey *key, TimestampTz now,
								  int options, IdemKeyRow *row);
extern IdemKeyState idem_key_find(IdemKey *key, bool wait, IdemKeyRow *row);
extern IdemKeyState idem_key_find_locked(IdemKey *key, int options,
										 IdemKeyRow *row);
extern IdemKeyState idem_key_probe(IdemKey *key, int options, IdemKeyRow *row);
extern void idem_key_missed(IdemKey *key, const IdemKeyRow *row);

#endif							/* IDEM_KEY_H */
