/*
 * entry.h
 *	  A statement of a transaction that has a key, as an entry of the record.
 */
#ifndef IDEM_ENTRY_H
#define IDEM_ENTRY_H

#include "session/record.h"

extern IdemEntry *idem_entry_open(const IdemStatementText *statement, bool writes,
								  int columns);
extern void idem_entry_failed(IdemEntry *entry);
extern void idem_entry_cut(IdemEntry *entry, const IdemRows *before);
extern void idem_entry_forget_rows(IdemEntry *entry);
extern void idem_entry_remove(IdemEntry *entry);

#endif							/* IDEM_ENTRY_H */
