/*
 * upsert_exec.h
 *	  A row inserted into a table of the caller's, or updated, as idem_upsert()
 *	  does it.
 */
#ifndef IDEM_UPSERT_EXEC_H
#define IDEM_UPSERT_EXEC_H

#include "key/answer.h"
#include "upsert/upsert_run.h"

extern bool idem_upsert_exec_keeps_inserting(const IdemUpsert *upsert);
extern bool idem_upsert_exec_rows(const IdemUpsert *upsert, IdemInsertRows *rows);
extern void idem_upsert_exec(const IdemUpsert *upsert, IdemAnswer *answer);

#endif							/* IDEM_UPSERT_EXEC_H */
