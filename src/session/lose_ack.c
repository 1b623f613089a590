/*
 * lose_ack.c
 *	  Losing acknowledgements, or requests, on purpose: idem.lose_ack,
 *	  idem.lose_request.
 *
 * In a test database the server cuts the client's connection after a commit is
 * durable and before the client learns of it, or just before the commit.  The
 * socket is shut down and marked as lost, so that the session leaves by the way
 * that the server has for a client that is gone: nothing that the client may have
 * sent behind that is executed.
 *
 * Only what has an xid is lost: to lose the answer of a read harms nobody, and a
 * call that replays has none, so a client that retries gets its answer in the end
 * even where every acknowledgement is lost.  A commit inside a statement, of a
 * procedure or of CREATE INDEX CONCURRENTLY, is not acknowledged to the client;
 * the statement is, and counts as one that has written.
 */
#include "postgres.h"

#ifndef WIN32
#include <sys/socket.h>
#endif

#include "access/xact.h"
#include "common/hashfn.h"
#include "common/pg_prng.h"
#include "miscadmin.h"
#include "replication/walsender.h"
#include "tcop/pquery.h"
#include "tcop/utility.h"

/*
 * Of a connection only the socket is wanted, which comes first whatever else
 * there is.  So the headers of Kerberos and OpenSSL need not be there.
 */
#undef ENABLE_GSS
#undef USE_OPENSSL
#include "libpq/libpq-be.h"

#include "base/settings.h"
#include "session/lose_ack.h"
#include "stats/stats_counter.h"
#include "stats/stats_shared.h"

StaticAssertDecl(offsetof(Port, sock) == 0, "the socket must come first");

#ifdef WIN32
#define SHUT_RDWR	SD_BOTH
#endif

static ProcessUtility_hook_type next_utility = NULL;

/* What the statement under way has committed by itself: an xid, or none yet. */
static TransactionId committed_inside = InvalidTransactionId;

/* Acknowledgements of this session that might have been lost. */
static int64 acknowledged = 0;

/* Is there a client that could miss what it is sent? */
static bool
has_client(void)
{
	return MyProcPort != NULL && !am_walsender &&
		(idem_lose_ack > 0 || idem_lose_request > 0 || idem_lose_every > 0);
}

/* Is it a commit that the client is told of?  Else a statement goes on behind it. */
static bool
is_outermost(void)
{
	return ActivePortal == NULL;
}

/*
 * Draws with a chance.  With a seed what is drawn depends on the transaction
 * alone: the same program in a copy of the same database loses the same.
 */
static bool
draws(double chance, TransactionId xid, uint64 salt)
{
	pg_prng_state state;

	if (chance <= 0)
		return false;
	if (idem_lose_seed == 0)
		return pg_prng_double(&pg_global_prng_state) < chance;
	pg_prng_seed(&state, hash_combine64(hash_combine64(idem_lose_seed, xid), salt));
	return pg_prng_double(&state) < chance;
}

/* Cuts the connection: the session ends at the next check for interrupts. */
static void
cut(const char *what, TransactionId xid)
{
	ereport(LOG_SERVER_ONLY,
			(errmsg("idem loses the %s of transaction %u", what, xid)));
	(void) shutdown(MyProcPort->sock, SHUT_RDWR);
	ClientConnectionLost = true;
	InterruptPending = true;
}

static void
maybe_lose_request(TransactionId xid)
{
	if (!TransactionIdIsValid(xid) || !draws(idem_lose_request, xid, 1))
		return;
	idem_stats_counter_hit(IDEM_COUNT_REQUEST_LOST);
	cut("request", xid);
	CHECK_FOR_INTERRUPTS();
}

static void
maybe_lose_ack(TransactionId xid)
{
	bool		every;

	if (!TransactionIdIsValid(xid))
		return;
	acknowledged++;
	every = idem_lose_every > 0 && acknowledged % idem_lose_every == 0;
	if (!every && !draws(idem_lose_ack, xid, 0))
		return;
	idem_stats_counter_hit(IDEM_COUNT_ACK_LOST);
	cut("acknowledgement", xid);
}

static void
xact_ends(XactEvent event, void *arg)
{
	TransactionId xid = InvalidTransactionId;

	if (!has_client())
		return;
	if (event != XACT_EVENT_ABORT)
		xid = GetTopTransactionIdIfAny();
	if (!is_outermost())
	{
		if (event == XACT_EVENT_COMMIT && TransactionIdIsValid(xid))
			committed_inside = xid;
		return;
	}

	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
		case XACT_EVENT_PRE_PREPARE:
			/* after the commit there is nothing that may be looked up */
			(void) idem_stats_shared_stripe();
			maybe_lose_request(xid);
			break;
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_PREPARE:
			maybe_lose_ack(TransactionIdIsValid(xid) ? xid : committed_inside);
			committed_inside = InvalidTransactionId;
			break;
		case XACT_EVENT_ABORT:
			committed_inside = InvalidTransactionId;
			break;
		default:
			break;
	}
}

/* COMMIT PREPARED has no xid of its own: it commits that of another transaction. */
static void
utility(PlannedStmt *pstmt, const char *queryString, bool readOnlyTree,
		ProcessUtilityContext context, ParamListInfo params,
		QueryEnvironment *queryEnv, DestReceiver *dest, QueryCompletion *qc)
{
	bool		commits = has_client() && IsA(pstmt->utilityStmt, TransactionStmt) &&
		((TransactionStmt *) pstmt->utilityStmt)->kind == TRANS_STMT_COMMIT_PREPARED;

	if (commits)
		maybe_lose_request(ReadNextTransactionId());
	if (next_utility != NULL)
		next_utility(pstmt, queryString, readOnlyTree, context, params, queryEnv,
					 dest, qc);
	else
		standard_ProcessUtility(pstmt, queryString, readOnlyTree, context, params,
								queryEnv, dest, qc);
	if (commits)
		committed_inside = ReadNextTransactionId();
}

/* Listens for the ends of transactions.  To be called once, from _PG_init. */
void
idem_lose_ack_init(void)
{
	RegisterXactCallback(xact_ends, NULL);
	next_utility = ProcessUtility_hook;
	ProcessUtility_hook = utility;
}
