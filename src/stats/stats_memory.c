/*
 * stats_memory.c
 *	  Shared memory, where there is some to be had.
 *
 *	  from 17 on	a segment of dynamic shared memory with a name, whether or not
 *					the library was preloaded
 *	  15 and 16		what was asked for when the library was preloaded; else what the
 *					server has left over, if that is enough
 *
 * Where there is none, the session does without, and no call fails for that.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"

#include "base/compat.h"
#include "stats/stats_memory.h"

/* Differs whenever the layout does: another library may have made what is there. */
#define NAME			"idem counters 1"

#ifdef IDEM_NAMED_SEGMENT

static IdemStatsFill fill_segment;

static void
init_segment(IDEM_NAMED_SEGMENT_ARGS)
{
	fill_segment(ptr, true);
}

/* Finds the memory, or makes it.  Raises an error where there is too little. */
static void *
open_memory(Size wanted, Size enough, IdemStatsFill fill)
{
	bool		found;

	fill_segment = fill;
	return IDEM_NAMED_SEGMENT(NAME, wanted, init_segment, &found);
}

#else

static bool preloaded = false;
static Size requested;
static shmem_request_hook_type next_request = NULL;

static void *
open_memory(Size wanted, Size enough, IdemStatsFill fill)
{
	bool		found;
	void	   *memory;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	memory = ShmemInitStruct(NAME, preloaded ? wanted : enough, &found);
	if (!found)
		fill(memory, preloaded);
	LWLockRelease(AddinShmemInitLock);
	return memory;
}

static void
request_memory(void)
{
	if (next_request != NULL)
		next_request();
	RequestAddinShmemSpace(requested);
}

#endif							/* IDEM_NAMED_SEGMENT */

/*
 * The memory, which the first session to come has filled; NULL: there is none.
 *
 * The server's functions that raise an error where there is too little leave nothing
 * behind but locks that they hold, and a caller of ours holds none of that kind.  So
 * the error can be dropped here without a subtransaction, which would cost an xid.
 */
void *
idem_stats_memory_open(Size wanted, Size enough, IdemStatsFill fill)
{
	MemoryContext context = CurrentMemoryContext;
	uint32		holdoffs = InterruptHoldoffCount;
	void	   *volatile opened = NULL;

	PG_TRY();
	{
		opened = open_memory(wanted, enough, fill);
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		LWLockReleaseAll();
		InterruptHoldoffCount = holdoffs;
		/* a session that is to end is to end */
		if (ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_OPERATOR_INTERVENTION)
			ReThrowError(error);
		FreeErrorData(error);
	}
	PG_END_TRY();
	return opened;
}

/* Asks for the memory where that has to be done early. */
void
idem_stats_memory_init(Size wanted)
{
#ifndef IDEM_NAMED_SEGMENT
	if (!process_shared_preload_libraries_in_progress || IsBinaryUpgrade)
		return;
	preloaded = true;
	requested = wanted;
	next_request = shmem_request_hook;
	shmem_request_hook = request_memory;
#endif
}
