/*
 * key_table.h
 *	  The rows of idem_key, found as they are committed now.
 */
#ifndef IDEM_KEY_TABLE_H
#define IDEM_KEY_TABLE_H

#include "access/genam.h"
#include "access/htup.h"
#include "executor/tuptable.h"
#include "datatype/timestamp.h"
#include "storage/itemptr.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"
#include "utils/uuid.h"

#include "base/catalog.h"

/* Columns of idem_key. */
enum
{
	IDEM_KEY_COLUMN_CREATED_AT = 1,
	IDEM_KEY_COLUMN_EXPIRES_AT,
	IDEM_KEY_COLUMN_FENCE,
	IDEM_KEY_COLUMN_LEASE_UNTIL,
	IDEM_KEY_COLUMN_FINGERPRINT,
	IDEM_KEY_COLUMN_OUTCOME,
	IDEM_KEY_COLUMN_CLAIMED_BY,
	IDEM_KEY_COLUMN_SCOPE,
	IDEM_KEY_COLUMN_KEY,
	IDEM_KEY_COLUMN_RESPONSE,
	IDEM_KEY_COLUMN_REQUEST,
	IDEM_KEY_COLUMN_SQLSTATE,
	IDEM_KEY_COLUMN_CHECKPOINTS,
	IDEM_KEY_COLUMNS = IDEM_KEY_COLUMN_CHECKPOINTS
};

/* What is found of a key, as of a moment. */
typedef enum IdemKeyState
{
	IDEM_KEY_ABSENT,
	IDEM_KEY_EXPIRED,			/* a row past its time, which counts as none */
	IDEM_KEY_BUSY,				/* a row that a running transaction writes */
	IDEM_KEY_LAPSED,			/* a claim released, or whose lease has run
								 * out */
	IDEM_KEY_LIVE				/* any other row */
} IdemKeyState;

/* How to look for a row. */
#define IDEM_WITH_VALUES	1	/* read response, request, checkpoints, too */
#define IDEM_COMMITTED		2	/* only what has committed, without fail */
#define IDEM_TO_WRITE		4	/* take the locks of who writes, and keep them
								 * unless the row is busy */
#define IDEM_TO_INSERT		8	/* the same, and not where it is live, either */
#define IDEM_BY_STATEMENT	16	/* unseen is what the statement lacks, too */

/* A version of a row, as long as no VACUUM FULL or CLUSTER moves it. */
typedef struct IdemKeyVersion
{
	ItemPointerData ctid;
	TransactionId xmin;
	int64		fence;			/* which no later version goes below */
} IdemKeyVersion;

typedef struct IdemKeyRow
{
	TimestampTz created_at;
	TimestampTz expires_at;
	TimestampTz lease_until;	/* if leased */
	bool		leased;
	bool		ever_leased;	/* has any claim of the row been? */
	bool		fingerprint_isnull;
	bool		response_isnull;
	bool		request_isnull;
	bool		refused;		/* is it an error of the work's? */
	bool		checkpoints_isnull;
	IdemOutcome outcome;
	Oid			claimed_by;		/* role */
	int64		fence;
	pg_uuid_t	fingerprint;
	Datum		response;		/* jsonb; only if asked for */
	Datum		request;		/* jsonb; only if asked for */
	Datum		sqlstate;		/* text, if refused; only to be written */
	Datum		checkpoints;	/* jsonb, as checkpoints.c makes it; only if
								 * asked for */
	/* set by finding */
	IdemKeyVersion version;		/* the one that was found */
	bool		ours;			/* written by the current transaction */
	bool		unseen;			/* the transaction's one snapshot lacks it */
	/* set by finding it busy, instead of all else but claimed_by */
	bool		claimer_known;	/* else any role may get the key */
	bool		leaving;		/* expired, and being deleted */
	TransactionId writer;		/* the transaction to wait for */
	uint32		speculative_token;	/* zero unless it may yet withdraw */
} IdemKeyRow;

/* A search for many keys, one after the other. */
typedef struct IdemKeySearch
{
	Relation	rel;
	Relation	index;
	IndexScanDesc scan;
	TupleTableSlot *slot;
	SnapshotData dirty;
	int			options;		/* how to look for them */
} IdemKeySearch;

extern void idem_key_table_begin(IdemKeySearch *search, int options);
extern IdemKeyState idem_key_table_next(IdemKeySearch *search, text *scope,
										text *key, TimestampTz now,
										IdemKeyRow *row);
extern void idem_key_table_end(IdemKeySearch *search, bool keep);
extern IdemKeyState idem_key_table_find(text *scope, text *key, TimestampTz now,
										int options, IdemKeyRow *row);
extern IdemKeyState idem_key_table_judge(const IdemKeyRow *row, TimestampTz now);
extern void idem_key_table_read(HeapTuple tuple, TupleDesc desc,
								TimestampTz now, int options, IdemKeyRow *row);
extern void idem_key_table_check_owner(const IdemKeyRow *row, const char *key);
extern void idem_key_table_check_request(const IdemKeyRow *row, const char *key,
										 bool same);
extern bool idem_key_table_is_claim(const IdemKeyRow *row);
extern bool idem_key_table_is_of(const IdemKeyRow *row,
								 const pg_uuid_t *fingerprint);
extern const char *idem_key_table_claimer(const IdemKeyRow *row);
extern bool idem_key_table_same_version(const IdemKeyVersion *a,
										const IdemKeyVersion *b);

#endif							/* IDEM_KEY_TABLE_H */
