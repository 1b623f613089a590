/*
 * purge_blocks.h
 *	  Deleting the keys that have come to an end, block by block.
 */
#ifndef IDEM_PURGE_BLOCKS_H
#define IDEM_PURGE_BLOCKS_H

#include "utils/relcache.h"

#include "purge/purge_delete.h"
#include "purge/purge_ranges.h"

extern void idem_purge_blocks(Relation keys, IdemPurgeDelete *rows,
							  IdemPurgeRanges *ranges);

#endif							/* IDEM_PURGE_BLOCKS_H */
