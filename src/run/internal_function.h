/*
 * internal_function.h
 *	  What idem's own statements name: functions of idem's, and one table.
 */
#ifndef IDEM_INTERNAL_FUNCTION_H
#define IDEM_INTERNAL_FUNCTION_H

#include "nodes/parsenodes.h"

/* A text of idem's, and what it may name. */
typedef struct IdemOwnText
{
	const char *text;			/* NULL: it is another's */
	Oid			table;			/* InvalidOid: none but the server's own */
	bool		looks;			/* may it name no code but the server's? */
} IdemOwnText;

extern IdemOwnText idem_internal_function_begin(const IdemOwnText *own);
extern void idem_internal_function_end(const IdemOwnText *outer);
extern void idem_internal_function_init(void);

#endif							/* IDEM_INTERNAL_FUNCTION_H */
