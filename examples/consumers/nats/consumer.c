/*
 * Books the payments of a JetStream stream, each exactly once.
 *
 * usage: consumer NATS_URL
 *
 * The variables of libpq (PGHOST, PGDATABASE, ...) lead to the database.
 *
 * JetStream delivers again what was not acknowledged in time.  So a message is
 * booked in a transaction in which idem_consume says whether it is new, and is
 * acknowledged once that has committed.  Errors are not handled: they end the
 * program, its supervisor starts it again, and JetStream delivers again.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <libpq-fe.h>
#include <nats/nats.h>

#define ID_HEADER "Nats-Msg-Id"	/* what the publisher sets as MsgId */
#define BATCH 50				/* fetched at once, booked one by one */
#define FETCH_MS 500			/* how long to wait for messages */

static void
check(natsStatus status, const char *what)
{
	if (status == NATS_OK)
		return;
	fprintf(stderr, "%s: %s\n", what, natsStatus_GetText(status));
	exit(1);
}

/* Runs a statement, with one parameter or two.  Returns what it answers. */
static PGresult *
run(PGconn *database, const char *sql, const char *id, const char *body)
{
	const char *values[] = {id, body};
	PGresult   *result = PQexecParams(database, sql, !!id + !!body, NULL,
									  values, NULL, NULL, 0);
	ExecStatusType status = PQresultStatus(result);

	if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK)
		return result;
	fprintf(stderr, "%s", PQerrorMessage(database));
	exit(1);
}

/* Books a payment, if it has not been. */
static void
book(PGconn *database, const char *id, const char *body)
{
	PGresult   *consumed;

	PQclear(run(database, "BEGIN", NULL, NULL));
	/* asked by itself, once: in the WHERE of the INSERT it could lose payments */
	consumed = run(database, "SELECT idem_consume('payments', $1)", id, NULL);
	if (*PQgetvalue(consumed, 0, 0) == 't')
		PQclear(run(database,
					"INSERT INTO payments (id, account, amount)"
					" SELECT $1, account, amount"
					" FROM jsonb_to_record($2) AS p (account int, amount numeric)",
					id, body));
	PQclear(consumed);
	PQclear(run(database, "COMMIT", NULL, NULL));
}

/* For the test alone: SIGKILL at a random one of the next DIE_WITHIN calls. */
static void
die_perhaps(void)
{
	static int	left = 0;
	const char *most = getenv("DIE_WITHIN");

	if (most && left == 0)
	{
		srandom(getpid() ^ time(NULL));
		left = 1 + random() % atoi(most);
	}
	if (most && --left == 0)
		kill(getpid(), SIGKILL);
}

static void
receive(PGconn *database, natsMsg *message)
{
	jsMsgMetaData *data;
	const char *id;

	check(natsMsg_GetMetaData(&data, message), "metadata");
	if (natsMsgHeader_Get(message, ID_HEADER, &id) != NATS_OK)
	{
		/* could not be told from another one: never deliver it again */
		check(natsMsg_Term(message, NULL), "terminating");
	}
	else
	{
		printf("delivered %s %d\n", id, data->NumDelivered > 1);
		fflush(stdout);
		book(database, id, natsMsg_GetData(message));
		puts("booked");
		die_perhaps();
		check(natsMsg_Ack(message, NULL), "acknowledging");
	}
	jsMsgMetaData_Destroy(data);
}

int
main(int argc, char **argv)
{
	PGconn	   *database = PQconnectdb("");
	natsConnection *broker;
	jsCtx	   *stream;
	jsSubOptions options;
	natsSubscription *subscription;

	if (PQstatus(database) != CONNECTION_OK)
	{
		fprintf(stderr, "%s", PQerrorMessage(database));
		return 1;
	}
	check(natsConnection_ConnectTo(&broker, argc > 1 ? argv[1] : NULL), "connecting");
	check(natsConnection_JetStream(&stream, broker, NULL), "JetStream");
	jsSubOptions_Init(&options);
	options.Stream = "PAYMENTS";
	options.Consumer = "payments";
	check(js_PullSubscribe(&subscription, stream, "payments.*", "payments", NULL,
						   &options, NULL), "subscribing");

	for (;;)
	{
		natsMsgList list;
		natsStatus	status = natsSubscription_Fetch(&list, subscription, BATCH,
													FETCH_MS, NULL);

		if (status == NATS_TIMEOUT)
			puts("idle");
		else
			check(status, "fetching");
		for (int i = 0; status == NATS_OK && i < list.Count; i++)
			receive(database, list.Msgs[i]);
		fflush(stdout);
		natsMsgList_Destroy(&list);
	}
}
