/*
 * key_write.h
 *	  The rows of idem_key, written by statements of idem's own.
 */
#ifndef IDEM_KEY_WRITE_H
#define IDEM_KEY_WRITE_H

#include "key/key.h"

extern void idem_key_write_insert(const IdemKey *key, const IdemKeyRow *row);
extern bool idem_key_write_renew(const IdemKey *key, const IdemKeyRow *row);
extern bool idem_key_write_lock_row(const IdemKey *key, const IdemKeyRow *row);
extern bool idem_key_write_replace(const IdemKey *key, const IdemKeyRow *row,
								   bool new_response, bool new_request);
extern bool idem_key_write_remove(const IdemKey *key, const IdemKeyRow *row);

#endif							/* IDEM_KEY_WRITE_H */
