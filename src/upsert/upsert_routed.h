/*
 * upsert_routed.h
 *	  An upsert into a table whose rows an engine keeps elsewhere.
 */
#ifndef IDEM_UPSERT_ROUTED_H
#define IDEM_UPSERT_ROUTED_H

#include "key/answer.h"
#include "upsert/upsert_run.h"

extern void idem_upsert_routed(const IdemUpsert *upsert, IdemAnswer *answer);

#endif							/* IDEM_UPSERT_ROUTED_H */
