/*
 * operation.h
 *	  What a statement that idem writes does for the caller, as its errors say.
 */
#ifndef IDEM_OPERATION_H
#define IDEM_OPERATION_H

/* One kind of operation on a table; static, since plans refer to it. */
typedef struct IdemOperation
{
	const char *name;			/* as in: upsert into "orders" */

	/* A hint for an error that the statement raises; NULL: there is none. */
	const char *(*hint) (int sqlstate);
} IdemOperation;

/* The same on one table. */
typedef struct IdemOperationOn
{
	const IdemOperation *kind;	/* NULL: the text is what the caller knows */
	const char *said;			/* what it is called with the table's name */
} IdemOperationOn;

extern ErrorData *idem_operation_error(const IdemOperationOn *operation,
									   const char *sql, MemoryContext memory);

#endif							/* IDEM_OPERATION_H */
