/*
 * purge_note.h
 *	  What a pass of purging has found, for idem_health.
 */
#ifndef IDEM_PURGE_NOTE_H
#define IDEM_PURGE_NOTE_H

#include "purge/purge.h"

extern void idem_purge_note_pass(const IdemPurge *purge);

#endif							/* IDEM_PURGE_NOTE_H */
