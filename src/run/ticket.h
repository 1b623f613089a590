/*
 * ticket.h
 *	  By what a function that stands in a statement of idem's knows its caller.
 */
#ifndef IDEM_TICKET_H
#define IDEM_TICKET_H

#include "fmgr.h"

/*
 * A running statement's.  Make it the first field of what the statement's
 * function is to find.
 */
typedef struct IdemTicket
{
	int64		number;			/* a parameter of the statement */
	const char *function;		/* name of the function that it is for */
	struct IdemTicket *outer;	/* of the statement that this one runs under */
} IdemTicket;

extern int64 idem_ticket_take(IdemTicket *ticket, const char *function);
extern void idem_ticket_return(IdemTicket *ticket);
extern IdemTicket *idem_ticket_check(FunctionCallInfo fcinfo, int argument,
									 const char *function);

#endif							/* IDEM_TICKET_H */
