/*
 * attachment.h
 *	  Which state machine a table follows, and which column holds the version.
 */
#ifndef IDEM_ATTACHMENT_H
#define IDEM_ATTACHMENT_H

#include "access/attnum.h"
#include "utils/relcache.h"
#include "utils/reltrigger.h"

/* How a table follows a machine: what the arguments of its triggers say. */
typedef struct IdemAttachment
{
	const char *machine;		/* name of the machine */
	AttrNumber	status;			/* column with the state */
	AttrNumber	version;		/* column with the version */
} IdemAttachment;

extern void idem_attachment_read(IdemAttachment *attachment, Relation rel,
								 const Trigger *trigger);
extern bool idem_attachment_try(IdemAttachment *attachment, Relation rel,
								const Trigger *trigger);
extern bool idem_attachment_find(IdemAttachment *attachment, Relation rel);
extern void idem_attachment_need(IdemAttachment *attachment, Relation rel,
								 const char *machine);
extern Oid	idem_attachment_origin(Relation rel);
extern AttrNumber idem_attachment_read_version(Relation rel,
											   const Trigger *trigger);
extern AttrNumber idem_attachment_version(Relation rel);
extern bool idem_attachment_find_any(IdemAttachment *attachment, Relation rel);
extern Oid	idem_attachment_find_stray(Relation rel, const char *machine,
									   const char *status);
extern bool idem_attachment_records(Relation rel);

#endif							/* IDEM_ATTACHMENT_H */
