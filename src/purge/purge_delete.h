/*
 * purge_delete.h
 *	  Deleting the rows of a table of idem's own that have come to an end.
 */
#ifndef IDEM_PURGE_DELETE_H
#define IDEM_PURGE_DELETE_H

#include "access/attnum.h"
#include "datatype/timestamp.h"
#include "utils/relcache.h"

#include "run/row_delete.h"

/* Which rows, how many of them, and how. */
typedef struct IdemPurgeDelete
{
	AttrNumber	ended;			/* the column (timestamptz) that tells the end */
	AttrNumber	held;			/* another, up to which a row lives on; or 0 */
	TimestampTz from;			/* ended from then on; set to where to go on */
	TimestampTz until;			/* and by then, */
	TimestampTz held_until;		/* or by then where held is not null */
	int64		limit;			/* so many are deleted at most, */
	int64		looks;			/* so many looked at, or a few more */
	int64		more_looks;		/* of idem_purge_blocks(): where fewer were,
								 * at such as need not be due, too */
	bool		(*go_on) (void);	/* asked now and then; NULL: always yes */
	IdemRowDeleteLocked delete_locked;	/* where the table has code attached */
	bool		is_whole;		/* do other rows go with each? then to
								 * delete_locked in any case */
	void	   *state;			/* of delete_locked */
	int64		deleted;		/* out: so many were */
	bool		finished;		/* out: were all looked at? */
} IdemPurgeDelete;

extern void idem_purge_delete(Relation rel, IdemPurgeDelete *rows);

#endif							/* IDEM_PURGE_DELETE_H */
