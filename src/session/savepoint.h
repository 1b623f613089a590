/*
 * savepoint.h
 *	  The savepoints of a transaction that has a key.
 */
#ifndef IDEM_SAVEPOINT_H
#define IDEM_SAVEPOINT_H

#include "session/record.h"

extern void idem_savepoint_sent(IdemEntry *entry);
extern bool idem_savepoint_is_older(const IdemEntry *entry, int level);
extern void idem_savepoint_note_error(void);
extern void idem_savepoint_init(void);

#endif							/* IDEM_SAVEPOINT_H */
