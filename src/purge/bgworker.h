/*
 * bgworker.h
 *	  Purging in the background: one launcher, and a purger for each visit to a
 *	  database.
 */
#ifndef IDEM_BGWORKER_H
#define IDEM_BGWORKER_H

#include "postmaster/bgworker.h"
#include "storage/dsm.h"
#include "storage/lock.h"

#include "purge/purge.h"

/* What came of a purger's visit to a database. */
typedef enum IdemVisit
{
	IDEM_VISIT_NOT_MADE,		/* no purger could be started */
	IDEM_VISIT_FAILED,			/* nothing in it could be purged */
	IDEM_VISIT_NOT_INSTALLED,	/* the database has no idem */
	IDEM_VISIT_UNWELCOME,		/* another session wants the database alone */
	IDEM_VISIT_UNFINISHED,		/* more is past its time */
	IDEM_VISIT_FINISHED
} IdemVisit;

/* What a launcher tells its purger, in bgw_extra. */
typedef struct IdemErrand
{
	Oid			database;		/* to be purged */
	dsm_handle	report;			/* segment of the IdemReport */
} IdemErrand;

/* What a purger tells its launcher. */
typedef struct IdemReport
{
	IdemVisit	visit;
	IdemPurge	purge;			/* how far the purger found the database
								 * purged, and how far it left it */
} IdemReport;

extern void idem_bgworker_init(void);
extern void idem_bgworker_describe(BackgroundWorker *worker, const char *type,
								   const char *function);
extern void idem_bgworker_wait(long timeout_ms);
extern void idem_bgworker_pause(long timeout_ms);
extern bool idem_bgworker_database_is_free(Oid database);
extern int	idem_bgworker_launcher_pid(Oid database);
extern void idem_bgworker_launcher_tag(LOCKTAG *tag, Oid database);
extern void idem_bgworker_start_tag(LOCKTAG *tag, Oid database);

PGDLLEXPORT void idem_purge_launcher_main(Datum arg);
PGDLLEXPORT void idem_purge_worker_main(Datum arg);

#endif							/* IDEM_BGWORKER_H */
