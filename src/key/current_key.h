/*
 * current_key.h
 *	  The key whose work is being done.
 */
#ifndef IDEM_CURRENT_KEY_H
#define IDEM_CURRENT_KEY_H

#include "key/key.h"

extern void idem_current_key_begin(const IdemKey *key);
extern void idem_current_key_end(const IdemKey *key);
extern const IdemKey *idem_current_key(void);
extern void idem_current_key_init(void);

#endif							/* IDEM_CURRENT_KEY_H */
