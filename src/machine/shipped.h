/*
 * shipped.h
 *	  The state machines that come with idem.
 */
#ifndef IDEM_SHIPPED_H
#define IDEM_SHIPPED_H

typedef struct IdemShipped
{
	const char *name;
	const char *const *states;	/* each leads to the next only, the first is
								 * the initial one; NULL behind the last */
} IdemShipped;

extern const IdemShipped *idem_shipped_find(const char *name);

#endif							/* IDEM_SHIPPED_H */
