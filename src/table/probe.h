/*
 * probe.h
 *	  What would come of a write, without its being done.
 */
#ifndef IDEM_PROBE_H
#define IDEM_PROBE_H

#include "nodes/pg_list.h"
#include "utils/jsonb.h"

/* Makes the write, and gives the row that came of it; NULL if none did. */
typedef Jsonb *(*IdemProbeCallback) (void *state);

extern bool idem_probe_keeps(Jsonb *row, const List *names,
							 IdemProbeCallback write, void *state);

#endif							/* IDEM_PROBE_H */
