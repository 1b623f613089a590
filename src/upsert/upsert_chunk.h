/*
 * upsert_chunk.h
 *	  Upserts of a set that are run together.
 */
#ifndef IDEM_UPSERT_CHUNK_H
#define IDEM_UPSERT_CHUNK_H

#include "upsert/upsert_set.h"

extern int	idem_upsert_chunk_run(const IdemUpsertSet *set,
								  IdemUpsertMember **members, int count,
								  IdemUpsertCurrent *current);

#endif							/* IDEM_UPSERT_CHUNK_H */
