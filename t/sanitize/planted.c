/*
 * Faults, which scripts/sanitize adds to a copy of idem: each in a function of its
 * own, named after the fault and what has to find it.
 */
#include "fmgr.h"
#include "utils/memutils.h"

/* Keeps the compiler from seeing where memory is from, and from leaving a read out. */
static volatile char *volatile planted;
static volatile int planted_seen = 0;

PG_FUNCTION_INFO_V1(planted_read_unwritten);

Datum
planted_read_unwritten(PG_FUNCTION_ARGS)	/* valgrind */
{
	planted = palloc(24);
	if (planted[3] > 7)
		planted_seen++;
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(planted_read_behind);

Datum
planted_read_behind(PG_FUNCTION_ARGS)	/* address valgrind */
{
	planted = palloc0(24);
	planted_seen += planted[24];
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(planted_write_behind);

Datum
planted_write_behind(PG_FUNCTION_ARGS)	/* address valgrind assert */
{
	planted = palloc0(24);
	planted[24] = 1;
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(planted_read_freed);

Datum
planted_read_freed(PG_FUNCTION_ARGS)	/* address valgrind */
{
	planted = palloc0(24);
	pfree((char *) planted);
	planted_seen += planted[16];
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(planted_undefined);

Datum
planted_undefined(PG_FUNCTION_ARGS) /* address */
{
	planted_seen = 1 << (40 + planted_seen);	/* an overflow is defined by -fwrapv */
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(planted_assertion);

Datum
planted_assertion(PG_FUNCTION_ARGS)	/* assert address valgrind */
{
	Assert(planted_seen < 0);
	PG_RETURN_VOID();
}
