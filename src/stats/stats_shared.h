/*
 * stats_shared.h
 *	  The counters of all databases, in shared memory.
 */
#ifndef IDEM_STATS_SHARED_H
#define IDEM_STATS_SHARED_H

#include "datatype/timestamp.h"
#include "port/atomics.h"

/* Where the counters of the current database are. */
typedef enum IdemStatsPlace
{
	IDEM_STATS_OFF,				/* there was no shared memory for them */
	IDEM_STATS_COMMON,			/* in a slot with those of other databases */
	IDEM_STATS_OWN
} IdemStatsPlace;

/* The counters of a database, or of those that have no slot of their own. */
typedef struct IdemStatsSlot
{
	Oid			database;		/* InvalidOid: of the latter */
	TimestampTz reset_at;
} IdemStatsSlot;

/* What the last pass over expired rows has found. */
typedef struct IdemStatsPass
{
	TimestampTz ended;			/* 0: there has been none */
	TimestampTz oldest;			/* end of the first row that it left although
								 * that is past its time; 0: it left none */
} IdemStatsPass;

/* The claim that has been open past its lease for longest, as far as purging has seen. */
typedef struct IdemStatsLeases
{
	TimestampTz looked_at;		/* when all of the table had been seen; 0: not
								 * yet */
	TimestampTz since;			/* when the claim was made */
	TimestampTz until;			/* when its lease ended; 0: there is no such
								 * claim */
} IdemStatsLeases;

extern pg_atomic_uint64 * idem_stats_shared_stripe(void);
extern IdemStatsPlace idem_stats_shared_place(void);
extern int	idem_stats_shared_slots(void);
extern bool idem_stats_shared_slot(int number, IdemStatsSlot *slot);
extern uint64 idem_stats_shared_sum(int number, int counter);
extern int	idem_stats_shared_mine(void);
extern void idem_stats_shared_reset(void);
extern void idem_stats_shared_set_pass(const IdemStatsPass *pass);
extern void idem_stats_shared_get_pass(IdemStatsPass *pass);
extern void idem_stats_shared_set_leases(const IdemStatsLeases *leases);
extern bool idem_stats_shared_get_leases(IdemStatsLeases *leases);
extern void idem_stats_shared_init(void);

#endif							/* IDEM_STATS_SHARED_H */
