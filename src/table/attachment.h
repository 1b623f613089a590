/*
 * attachment.h
 *	  Which state machines a table follows, and which column holds the version.
 */
#ifndef IDEM_ATTACHMENT_H
#define IDEM_ATTACHMENT_H

#include "access/attnum.h"
#include "nodes/bitmapset.h"
#include "nodes/pg_list.h"
#include "utils/relcache.h"
#include "utils/reltrigger.h"

/*
 * How a table follows a machine: what the arguments of its triggers say.  It may
 * follow several, each by a column of its own, which is what tells them apart.
 */
typedef struct IdemAttachment
{
	const char *machine;		/* name of the machine */
	const char *column;			/* with the state: its name, and */
	AttrNumber	status;			/* its number */
	AttrNumber	version;		/* column with the version, of all machines */
} IdemAttachment;

extern void idem_attachment_read(IdemAttachment *attachment, Relation rel,
								 const Trigger *trigger);
extern bool idem_attachment_try(IdemAttachment *attachment, Relation rel,
								const Trigger *trigger);
extern bool idem_attachment_is_about(const Trigger *trigger,
									 const char *column);
extern List *idem_attachment_all(Relation rel, bool watching);
extern const IdemAttachment *idem_attachment_by(List *attachments,
												const char *column);
extern Bitmapset *idem_attachment_columns(Relation rel);
extern Oid	idem_attachment_origin(Relation rel, const char *column);
extern AttrNumber idem_attachment_read_version(Relation rel,
											   const Trigger *trigger);
extern AttrNumber idem_attachment_version(Relation rel);
extern Oid	idem_attachment_find_stray(Relation rel, const char *machine,
									   const char *column);
extern bool idem_attachment_records(Relation rel, const char *column);

#endif							/* IDEM_ATTACHMENT_H */
