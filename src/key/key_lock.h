/*
 * key_lock.h
 *	  The lock of a key, and waiting for other sessions that use the key.
 */
#ifndef IDEM_KEY_LOCK_H
#define IDEM_KEY_LOCK_H

#include "key/key.h"

extern uint64 idem_key_lock_hash(text *scope, text *key);
extern bool idem_key_lock_take(const IdemKey *key);
extern void idem_key_lock_release(const IdemKey *key);
extern bool idem_key_lock_is_held(const IdemKey *key);
extern void idem_key_lock_keep(const IdemKey *key);
extern bool idem_key_lock_is_kept(const IdemKey *key);
extern bool idem_key_lock_is_taken(const IdemKey *key);
extern void idem_key_lock_wait(IdemKey *key, const IdemKeyRow *row);

#endif							/* IDEM_KEY_LOCK_H */
