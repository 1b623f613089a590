/*
 * committed_row.h
 *	  Rows of idem's own tables, as they are committed now.
 */
#ifndef IDEM_COMMITTED_ROW_H
#define IDEM_COMMITTED_ROW_H

#include "access/genam.h"
#include "access/htup.h"
#include "access/skey.h"
#include "nodes/pg_list.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"

extern HeapTuple idem_committed_row_next(SysScanDesc scan, Snapshot snapshot);
extern HeapTuple idem_committed_row_find(Relation rel, Oid index, int nkeys,
										 ScanKey keys);
extern List *idem_committed_row_list(Relation rel, Oid index, int nkeys,
									 ScanKey keys);
extern bool idem_committed_row_is_unseen(TransactionId xmin);
extern bool idem_committed_row_is_unseen_by_statement(TransactionId xmin);

#endif							/* IDEM_COMMITTED_ROW_H */
