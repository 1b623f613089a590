/*
 * purge_note.c
 *	  What a pass of purging has found, for idem_health.
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "purge/purge_note.h"
#include "purge/purge_tables.h"
#include "stats/stats_shared.h"

/*
 * What a pass of the worker leaves behind it that is past its time: the end of the
 * first such row, or a time before that; 0 if nothing.
 */
static TimestampTz
oldest_left(const IdemPurge *purge)
{
	TimestampTz oldest = 0;

	for (int i = 0; i < IDEM_PURGE_TABLES; i++)
	{
		const IdemPurgeTable *table = &purge->tables[i];
		int			turn = (i - purge->table + IDEM_PURGE_TABLES) % IDEM_PURGE_TABLES;
		TimestampTz end = table->watermark;

		/* those that it has not done with, or that it could do nothing with */
		if (turn >= purge->left && !table->in_use && table->failures == 0)
			continue;
		if (table->begun == 0 || TIMESTAMP_NOT_FINITE(end))
			continue;
		end += idem_purge_tables_kept_s(i) * USECS_PER_SEC;
		if (end < purge->now && (oldest == 0 || end < oldest))
			oldest = end;
	}
	return oldest;
}

/* Notes what a pass of the worker, or of a session, has found. */
void
idem_purge_note_pass(const IdemPurge *purge)
{
	IdemStatsPass pass = {.ended = GetCurrentTimestamp()};

	pass.oldest = oldest_left(purge);
	idem_stats_shared_set_pass(&pass);
}
