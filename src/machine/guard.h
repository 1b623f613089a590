/*
 * guard.h
 *	  Guards: predicates over a row that a transition has to meet.
 */
#ifndef IDEM_GUARD_H
#define IDEM_GUARD_H

#include "access/htup.h"
#include "utils/jsonb.h"
#include "utils/relcache.h"

#include "machine/machine.h"

/* Guards made ready to be asked about rows of one table. */
typedef struct IdemGuards IdemGuards;

extern void idem_guard_init(void);
extern void idem_guard_accept(Relation rel, List *edges);
extern IdemGuards *idem_guard_make(Relation rel, const char *column);
extern IdemGuards *idem_guard_make_looking(Relation rel,
										   const char *column);
extern bool idem_guard_ask(IdemGuards *guards, const IdemEdge *edge,
						   HeapTuple row, Jsonb *note, bool *isnull);
extern void idem_guard_require(IdemGuards *guards, const char *machine,
							   const IdemEdge *edge, HeapTuple row,
							   Jsonb *note);

#endif							/* IDEM_GUARD_H */
