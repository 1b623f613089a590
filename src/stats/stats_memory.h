/*
 * stats_memory.h
 *	  Shared memory, where there is some to be had.
 */
#ifndef IDEM_STATS_MEMORY_H
#define IDEM_STATS_MEMORY_H

/* Fills memory that is new; is it as much as was wanted, or just enough? */
typedef void (*IdemStatsFill) (void *memory, bool all);

extern void *idem_stats_memory_open(Size wanted, Size enough,
									IdemStatsFill fill);
extern void idem_stats_memory_init(Size wanted);

#endif							/* IDEM_STATS_MEMORY_H */
