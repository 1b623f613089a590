/*
 * upsert_exec.h
 *	  A row put into a table of the caller's, as idem_upsert() does it.
 */
#ifndef IDEM_UPSERT_EXEC_H
#define IDEM_UPSERT_EXEC_H

#include "utils/jsonb.h"

#include "key/key.h"
#include "table/row_version.h"
#include "upsert/upsert_deparse.h"

/* One upsert, as it was asked for. */
typedef struct IdemUpsert
{
	IdemUpsertSpec spec;
	Jsonb	   *data;
	Jsonb	   *merge;			/* NULL: none */
	IdemRowVersion expected;	/* exists if spec.versioned */
} IdemUpsert;

extern void idem_upsert_exec(const IdemUpsert *upsert, IdemAnswer *answer);

#endif							/* IDEM_UPSERT_EXEC_H */
