/*
 * latest.h
 *	  Rows of idem's own tables, as they are committed now.
 */
#ifndef IDEM_LATEST_H
#define IDEM_LATEST_H

#include "access/htup.h"
#include "access/skey.h"
#include "utils/relcache.h"

extern HeapTuple idem_latest_find(Relation rel, Oid index, int nkeys,
								  ScanKey keys);
extern bool idem_latest_is_unseen(TransactionId xmin);

#endif							/* IDEM_LATEST_H */
