/*
 * http_status.c
 *	  SQL: idem_http_status(), what an error means to a client of HTTP.
 *
 * It stands here so that services in all languages answer alike.  What a
 * middleware makes of a status decides what is right for a code: a 4xx is final
 * and may be kept under the key, a 5xx frees the key and has the client send
 * the same request again.  So what would go away by itself, or after somebody
 * has mended the service, is a 5xx.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"

#include "base/error.h"

PG_FUNCTION_INFO_V1(idem_http_status);

#define SQLSTATE_LENGTH		5
#define CLASS_LENGTH		2

/* A code of five characters, or a class of two, and its status. */
typedef struct HttpStatus
{
	const char *code;			/* a code stands above its class */
	int			status;
} HttpStatus;

static const HttpStatus http_statuses[] = {
	/* idem's own: the table in docs/errors.md */
	{"ID001", 422},				/* key was used for another request */
	{"ID002", 409},				/* lease lost */
	{"ID003", 404},				/* no such claim */
	{"ID201", 409},				/* transition not allowed */
	{"ID202", 409},				/* another state than expected */
	{"ID203", 412},				/* another version than expected */
	{"ID204", 409},				/* refused by a guard */
	{"ID205", 404},				/* no such row */
	{"ID301", 410},				/* message too late */
	{"ID302", 409},				/* gap in a log */
	{"ID401", 409},				/* step of a saga is not due */

	/* the request is wrong */
	{"22", 400},				/* data exceptions, 22004 and 22023 too */
	{"23502", 400},				/* a value is missing */
	{"23514", 400},				/* a check refuses the value */
	{"42703", 400},				/* idem's word for an unknown field of data */
	{"44", 400},				/* a view's WITH CHECK OPTION */
	{"P0001", 400},				/* RAISE EXCEPTION without a code */
	{"42501", 403},
	{"02", 404},
	{"P0002", 404},				/* SELECT INTO STRICT found no row */
	{"23", 409},				/* another row is in the way, or refers to
								 * this one */

	/* the same request may pass later, or elsewhere */
	{"08", 503},
	{"25006", 503},				/* a standby: go to the primary */
	{"25P03", 503},				/* idle_in_transaction_session_timeout */
	{"25P04", 503},				/* transaction_timeout */
	{"40", 503},
	{"53", 503},				/* out of memory, of disk, of connections */
	{"55P03", 503},				/* lock_timeout, NOWAIT, idem.wait_timeout */
	{"57", 503},				/* cancelled; the server stops or starts */

	/* no error */
	{"00", 200},
	{"01", 200}
};

/*
 * The status that a function has chosen by a code like PT402, a custom that
 * PostgREST has brought up; or 0.  Only of errors: what raised has been undone.
 */
static int
chosen_status(const char *code)
{
	int			status = 0;

	if (strncmp(code, "PT", CLASS_LENGTH) != 0)
		return 0;
	for (int i = CLASS_LENGTH; i < SQLSTATE_LENGTH; i++)
	{
		if (code[i] < '0' || code[i] > '9')
			return 0;
		status = status * 10 + (code[i] - '0');
	}
	return status >= 400 && status <= 599 ? status : 0;
}

/* The status of a code, or of a class; 0 where the table has none. */
static int
listed_status(const char *code)
{
	for (int i = 0; i < lengthof(http_statuses); i++)
	{
		if (strcmp(http_statuses[i].code, code) == 0)
			return http_statuses[i].status;
	}
	return 0;
}

static bool
is_sqlstate(const char *code)
{
	return strlen(code) == SQLSTATE_LENGTH &&
		strspn(code, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") == SQLSTATE_LENGTH;
}

/*
 * idem_http_status(sqlstate text) -> int
 *
 * What is not in the table is an error of the service: 500.  Raises 22004 for a
 * null, since a client library has no SQLSTATE for the errors that it makes
 * itself, and to answer those with nothing would be wrong; 22023 for what is no
 * SQLSTATE.
 */
Datum
idem_http_status(PG_FUNCTION_ARGS)
{
	char	   *code;
	int			status;

	if (PG_ARGISNULL(0))
		idem_error_null("sqlstate");
	code = text_to_cstring(PG_GETARG_TEXT_PP(0));
	if (!is_sqlstate(code))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"sqlstate\" is not an SQLSTATE"),
				 errdetail("An SQLSTATE has five digits or capital letters."),
				 errhint("Give the code of the error, as in '40001', not its name or its message.")));

	status = chosen_status(code);
	if (status == 0)
		status = listed_status(code);
	if (status == 0)
	{
		code[CLASS_LENGTH] = '\0';
		status = listed_status(code);
	}
	PG_RETURN_INT32(status == 0 ? 500 : status);
}
