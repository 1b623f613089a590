/* The shop by libpq. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libpq-fe.h>

static void
expect(bool right, const char *what)
{
	if (!right)
	{
		fprintf(stderr, "wrong: %s\n", what);
		exit(1);
	}
	printf("%s\n", what);
}

static PGconn *
connect_shop(void)
{
	PGconn	   *connection = PQconnectdb("");

	if (PQstatus(connection) != CONNECTION_OK)
	{
		fprintf(stderr, "%s", PQerrorMessage(connection));
		exit(1);
	}
	return connection;
}

/* Runs a statement; the types of its parameters are the server's to find. */
static PGresult *
run(PGconn *connection, const char *sql, int n, const char *const *values)
{
	return PQexecParams(connection, sql, n, NULL, values, NULL, NULL, 0);
}

static const char *
value(PGresult *result, const char *column)
{
	int			number = PQfnumber(result, column);

	if (PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) < 1 || number < 0)
	{
		fprintf(stderr, "no %s: %s", column, PQresultErrorMessage(result));
		exit(1);
	}
	return PQgetvalue(result, 0, number);
}

/* Places an order in a transaction.  Its row, or NULL where the connection is lost. */
static PGresult *
place(const char *key, const char *order, bool lose)
{
	PGconn	   *connection = connect_shop();
	PGresult   *placed;
	bool		committed;

	PQclear(PQexec(connection, "BEGIN"));
	if (lose)
		PQclear(PQexec(connection, "SET LOCAL idem.lose_ack = 1"));
	placed = run(connection,
				 "SELECT outcome, replayed, result->>'id' AS id, result->>'version' AS version"
				 " FROM idem_upsert($1, 'orders', $2)",
				 2, (const char *const[]) {key, order});
	if (PQresultStatus(placed) == PGRES_TUPLES_OK)
	{
		PGresult   *commit = PQexec(connection, "COMMIT");

		committed = PQresultStatus(commit) == PGRES_COMMAND_OK;
		if (!committed)
		{
			/* such a result is libpq's own, and has no SQLSTATE */
			const char *state = PQresultErrorField(commit, PG_DIAG_SQLSTATE);

			printf("lost: %s, SQLSTATE %s\n",
				   PQstatus(connection) == CONNECTION_BAD ? "CONNECTION_BAD" : "?",
				   state ? state : "none");
		}
		PQclear(commit);
	}
	else
	{
		committed = false;
		fprintf(stderr, "%s", PQresultErrorMessage(placed));
	}
	PQfinish(connection);
	if (!committed)
	{
		PQclear(placed);
		return NULL;
	}
	return placed;
}

static void
expect_moved(const char *what, PGresult *moved)
{
	char		line[200];

	snprintf(line, sizeof(line), "moved %s: %s -> %s, version %s", what,
			 value(moved, "from_state"), value(moved, "to_state"), value(moved, "version"));
	expect(strcmp(value(moved, "version"), "2") == 0, line);
	PQclear(moved);
}

int
main(void)
{
	PGconn	   *connection = connect_shop();
	PGresult   *result,
			   *placed;
	char	   *key,
			   *parcel,
				id[30],
				line[200],
				messages[200],
				step[60];
	int			counts[2];
	const char *order = "{\"customer\": \"libpq\", \"total\": 440}";

	result = PQexec(connection, "SELECT idem_new_key() AS key, gen_random_uuid() AS parcel");
	key = strdup(value(result, "key"));
	parcel = strdup(value(result, "parcel"));
	PQclear(result);

	if (place(key, order, true) != NULL)
		expect(false, "nothing was lost");
	placed = place(key, order, false);
	expect(placed && strcmp(value(placed, "outcome"), "inserted") == 0 &&
		   strcmp(value(placed, "replayed"), "t") == 0, "placed: inserted, replayed");
	snprintf(id, sizeof(id), "%s", value(placed, "id"));

	/* another call, another key */
	snprintf(step, sizeof(step), "%s/PROCESSING", key);
	expect_moved("order",
				 run(connection,
					 "SELECT * FROM order_transition('orders', $1, $2, expected_version => $3, key => $4)",
					 4, (const char *const[]) {id, "PROCESSING", value(placed, "version"), step}));
	PQclear(placed);

	result = run(connection, "INSERT INTO parcels VALUES ($1, $2)",
				 2, (const char *const[]) {parcel, "libpq"});
	PQclear(result);
	expect_moved("parcel",
				 run(connection, "SELECT * FROM order_transition('parcels', $1, $2)",
					 2, (const char *const[]) {parcel, "PROCESSING"}));

	snprintf(messages, sizeof(messages), "{\"%s/1\",\"%s/2\",\"%s/1\"}", key, key, key);
	for (int i = 0; i < 2; i++)
	{
		result = run(connection, "SELECT * FROM idem_consume_batch('libpq', $1)",
					 1, (const char *const[]) {messages});
		counts[i] = PQresultStatus(result) == PGRES_TUPLES_OK ? PQntuples(result) : -1;
		PQclear(result);
	}
	snprintf(line, sizeof(line), "consumed: %d, then %d", counts[0], counts[1]);
	expect(counts[0] == 2 && counts[1] == 0, line);

	result = run(connection, "SELECT * FROM order_transition('orders', $1, $2)",
				 2, (const char *const[]) {id, "DELIVERED"});
	if (PQresultStatus(result) != PGRES_FATAL_ERROR)
		expect(false, "not refused");
	snprintf(line, sizeof(line), "refused: %s (PQresultErrorField)",
			 PQresultErrorField(result, PG_DIAG_SQLSTATE));
	expect(strcmp(PQresultErrorField(result, PG_DIAG_SQLSTATE), "ID201") == 0, line);
	PQclear(result);
	PQfinish(connection);
	free(key);
	free(parcel);
	return 0;
}
