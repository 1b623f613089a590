/*
 * statement_key.h
 *	  What tells one statement of a transaction from another.
 */
#ifndef IDEM_STATEMENT_KEY_H
#define IDEM_STATEMENT_KEY_H

#include "nodes/params.h"
#include "utils/uuid.h"

/* Digests of a statement: its tokens, and the values of its parameters. */
typedef struct IdemStatementKey
{
	pg_uuid_t	exact;
	pg_uuid_t	clock;			/* the same without moments in time */
} IdemStatementKey;

/* What a statement is told by. */
typedef struct IdemStatementText
{
	const char *source;			/* the text that it stands in */
	int			location;		/* where, or -1: nobody knows */
	int			length;			/* 0: to the end */
	int			ordinal;		/* which of those that a rule made of it */
	ParamListInfo params;		/* NULL: none */
} IdemStatementText;

extern void idem_statement_key_make(const IdemStatementText *statement,
									IdemStatementKey *key);
extern bool idem_statement_key_matches(const IdemStatementKey *a,
									   const IdemStatementKey *b, bool clock);

#endif							/* IDEM_STATEMENT_KEY_H */
