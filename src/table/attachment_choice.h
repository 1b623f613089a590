/*
 * attachment_choice.h
 *	  Which of the machines that a table follows a call means.
 */
#ifndef IDEM_ATTACHMENT_CHOICE_H
#define IDEM_ATTACHMENT_CHOICE_H

#include "table/attachment.h"

extern List *idem_attachment_choice_need(Relation rel, const char *machine);
extern const IdemAttachment *idem_attachment_choice_named(List *attachments,
														  Relation rel,
														  const char *machine,
														  const char *column);
extern const char *idem_attachment_choice_list(List *attachments);

#endif							/* IDEM_ATTACHMENT_CHOICE_H */
