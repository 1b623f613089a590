/*
 * own_names.h
 *	  What statements that idem writes may name: functions of idem's, and one table.
 */
#ifndef IDEM_OWN_NAMES_H
#define IDEM_OWN_NAMES_H

#include "nodes/parsenodes.h"

/* A text of idem's, and what it may name. */
typedef struct IdemOwnNames
{
	const char *text;			/* NULL: it is another's */
	Oid			table;			/* InvalidOid: none but the server's own */
	bool		looks;			/* may it name no code but the server's? */
	bool		runs_nothing;	/* may it run none, whatever is attached to
								 * the table? */
} IdemOwnNames;

extern IdemOwnNames idem_own_names_begin(const IdemOwnNames *own);
extern void idem_own_names_end(const IdemOwnNames *outer);
extern void idem_own_names_init(void);

#endif							/* IDEM_OWN_NAMES_H */
