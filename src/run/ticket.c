/*
 * ticket.c
 *	  By what a function that stands in a statement of idem's knows its caller.
 *
 * Every role that may run the statement needs to execute such a function, and so
 * may call it: from a column's default or a trigger of the very table, or from a
 * function in another statement that runs meanwhile.  So each run of a statement
 * has a number, which is passed to it as a parameter and which the function must
 * give back.  No other code can learn it, since parameters are known to the text
 * of their own statement only, nor guess it.
 *
 * Statements that run under another one, from its triggers, have tickets of
 * their own; only the innermost counts.  What takes a ticket returns it, also on
 * an error: PG_FINALLY.
 */
#include "postgres.h"

#include "run/ticket.h"

static IdemTicket *current = NULL;

/* The number of the ticket taken last; 0 before the first one. */
static int64 number = 0;

#ifdef USE_ASSERT_CHECKING
static bool
is_taken(const IdemTicket *ticket)
{
	const IdemTicket *taken = current;

	while (taken != NULL && taken != ticket)
		taken = taken->outer;
	return taken != NULL;
}
#endif

/*
 * Takes a ticket for one run of a statement in which the function stands, and
 * returns its number.
 */
int64
idem_ticket_take(IdemTicket *ticket, const char *function)
{
	Assert(!is_taken(ticket));
	/* unforeseeable at first, then no other code can count along */
	while (number == 0)
	{
		if (!pg_strong_random(&number, sizeof(number)))
			ereport(ERROR,
					(errcode(ERRCODE_INTERNAL_ERROR),
					 errmsg("could not generate a random number")));
	}
	number = (int64) ((uint64) number + 1);

	ticket->number = number;
	ticket->function = function;
	ticket->outer = current;
	current = ticket;
	return number;
}

/* Ends the run, and those begun within it that an error has left over. */
void
idem_ticket_return(IdemTicket *ticket)
{
	Assert(is_taken(ticket));
	current = ticket->outer;
}

/*
 * The ticket whose number is among the arguments of a function.  Raises 0A000
 * where it is not that of the innermost statement, or the statement is not one
 * of that function.
 */
IdemTicket *
idem_ticket_check(FunctionCallInfo fcinfo, int argument, const char *function)
{
	if (current == NULL || PG_ARGISNULL(argument) ||
		PG_GETARG_INT64(argument) != current->number ||
		strcmp(current->function, function) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("function \"%s\" was not called by a statement of idem's",
						function),
				 errhint("It is for the statements that idem writes only.")));
	return current;
}
