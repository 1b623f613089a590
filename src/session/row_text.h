/*
 * row_text.h
 *	  The rows of a statement as text, column by column.
 */
#ifndef IDEM_ROW_TEXT_H
#define IDEM_ROW_TEXT_H

#include "access/tupdesc.h"
#include "lib/stringinfo.h"
#include "tcop/dest.h"

/* Rows, one behind the other: of each column its length, or -1 for null, and text. */
typedef struct IdemRows
{
	int			columns;
	uint64		count;
	StringInfoData text;		/* data is NULL before the first */
} IdemRows;

/* A receiver that keeps the rows it passes on. */
typedef struct IdemTee
{
	DestReceiver pub;
	DestReceiver *client;		/* to which they go */
	IdemRows   *rows;			/* to be kept */
	Size		most;			/* bytes; 0: no limit */
	bool		(*must_keep) (void *state); /* asked beyond that; then there
											 * is no limit */
	void	   *state;			/* of must_keep */
	bool		dropped;		/* were they more? then rows has none */
	MemoryContext memory;		/* where rows are kept */
	/* private to row_text.c */
	MemoryContext scratch;
	struct FmgrInfo *output;	/* of each column */
} IdemTee;

/* How far an answer has been sent. */
typedef struct IdemRowsPlace
{
	uint64		row;
	int			byte;
} IdemRowsPlace;

extern bool idem_row_text_can_hold(TupleDesc desc);
extern char *idem_row_text_of(Oid type, Datum value);
extern void idem_row_text_add(IdemRows *rows, const char *value, int length);
extern void idem_row_text_tee(IdemTee *tee, DestReceiver *client, IdemRows *rows,
							  MemoryContext memory);
extern uint64 idem_row_text_send(const IdemRows *rows, IdemRowsPlace *place,
								 uint64 count, TupleDesc desc,
								 DestReceiver *dest);

#endif							/* IDEM_ROW_TEXT_H */
