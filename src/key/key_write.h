/*
 * key_write.h
 *	  The rows of idem_key, written by statements of idem's own.
 */
#ifndef IDEM_KEY_WRITE_H
#define IDEM_KEY_WRITE_H

#include "utils/relcache.h"

#include "key/key.h"

/* Which values of a row are new, where it is written over another. */
#define IDEM_NEW_RESPONSE		1
#define IDEM_NEW_REQUEST		2
#define IDEM_NEW_CHECKPOINTS	4
#define IDEM_NEW_VALUES \
	(IDEM_NEW_RESPONSE | IDEM_NEW_REQUEST | IDEM_NEW_CHECKPOINTS)

/* What a row says, as the first parameters of the statements that write it. */
enum
{
	IDEM_KEY_ARG_OUTCOME,
	IDEM_KEY_ARG_FINGERPRINT,
	IDEM_KEY_ARG_RESPONSE,
	IDEM_KEY_ARG_FENCE,
	IDEM_KEY_ARG_CLAIMED_BY,
	IDEM_KEY_ARG_CREATED_AT,
	IDEM_KEY_ARG_EXPIRES_AT,
	IDEM_KEY_ARG_LEASE_UNTIL,
	IDEM_KEY_ARG_REQUEST,
	IDEM_KEY_ARG_SQLSTATE,
	IDEM_KEY_ROW_ARGS,
	/* then, where a row is written over another, which of its values are new */
	IDEM_KEY_ARG_NEW_RESPONSE = IDEM_KEY_ROW_ARGS,
	IDEM_KEY_ARG_NEW_REQUEST,
	IDEM_KEY_ARG_NEW_CHECKPOINTS,
	IDEM_KEY_ARG_CHECKPOINTS,
	IDEM_KEY_REPLACE_ARGS
};

/* A row that has expired, as k, becomes that of the new use of its key. */
#define IDEM_KEY_RENEWS \
	" ON CONFLICT (key, scope) DO UPDATE SET" \
	" outcome = excluded.outcome, fingerprint = excluded.fingerprint," \
	" response = excluded.response, fence = k.fence OPERATOR(pg_catalog.+) 1," \
	" claimed_by = excluded.claimed_by, created_at = excluded.created_at," \
	" expires_at = excluded.expires_at, lease_until = CASE" \
	" WHEN k.lease_until IS NOT NULL THEN '-infinity'::pg_catalog.timestamptz END," \
	" request = excluded.request, sqlstate = excluded.sqlstate," \
	" checkpoints = NULL" \
	" WHERE k.expires_at OPERATOR(pg_catalog.<=) excluded.created_at"

extern void idem_key_write_bind(const IdemKeyRow *row, Datum *args, bool *isnull);
extern bool idem_key_write_is_plain(Relation rel);
extern void idem_key_write_insert(const IdemKey *key, const IdemKeyRow *row);
extern void idem_key_write_insert_many(int count, IdemKey *const *keys,
									   const IdemKeyRow *rows, int *at);
extern bool idem_key_write_renew(const IdemKey *key, const IdemKeyRow *row);
extern bool idem_key_write_lock_row(const IdemKey *key, const IdemKeyRow *row);
extern bool idem_key_write_replace(const IdemKey *key, const IdemKeyRow *row,
								   int news);
extern bool idem_key_write_remove(const IdemKey *key, const IdemKeyRow *row);

#endif							/* IDEM_KEY_WRITE_H */
