/*
 * put.h
 *	  A row put into a table of the caller's, as idem_upsert() does it.
 */
#ifndef IDEM_PUT_H
#define IDEM_PUT_H

#include "utils/jsonb.h"

#include "key/key.h"
#include "upsert/shape.h"

/* One upsert, as it was asked for. */
typedef struct IdemUpsert
{
	IdemShape	shape;
	Jsonb	   *data;
	Jsonb	   *merge;			/* NULL: none */
	int64		expected_version;	/* if shape.versioned */
} IdemUpsert;

extern void idem_put_row(const IdemUpsert *upsert, IdemAnswer *answer);

#endif							/* IDEM_PUT_H */
