/*
 * key_store.h
 *	  The rows of keys in a store, reached by statements.
 */
#ifndef IDEM_KEY_STORE_H
#define IDEM_KEY_STORE_H

#include "key/key.h"

extern IdemKeyState idem_key_store_find(const IdemKey *key, TimestampTz now,
										int options, IdemKeyRow *row);
extern bool idem_key_store_insert(const IdemKey *key, const IdemKeyRow *row,
								  bool renew);
extern bool idem_key_store_lock_row(const IdemKey *key, const IdemKeyRow *row);
extern bool idem_key_store_replace(const IdemKey *key, const IdemKeyRow *row,
								   Datum *args, const bool *isnull);
extern bool idem_key_store_remove(const IdemKey *key, const IdemKeyRow *row);

#endif							/* IDEM_KEY_STORE_H */
