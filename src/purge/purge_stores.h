/*
 * purge_stores.h
 *	  Deleting what has expired in stores.
 */
#ifndef IDEM_PURGE_STORES_H
#define IDEM_PURGE_STORES_H

#include "purge/purge.h"

extern bool idem_purge_stores_begin(IdemPurgeStores *pass, TimestampTz now);
extern bool idem_purge_stores_pass_over(IdemPurgeStores *pass,
										const IdemPurgeStores *failed,
										TimestampTz began);
extern bool idem_purge_stores(IdemPurgeStores *pass, const IdemPurgeBounds *bounds);
extern int64 idem_purge_stores_all(int64 limit);

#endif							/* IDEM_PURGE_STORES_H */
