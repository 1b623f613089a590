/*
 * keyed.h
 *	  The key whose work is being done.
 */
#ifndef IDEM_KEYED_H
#define IDEM_KEYED_H

#include "key/key.h"

extern void idem_keyed_begin(const IdemKey *key);
extern void idem_keyed_end(const IdemKey *key);
extern const IdemKey *idem_keyed_current(void);
extern void idem_keyed_init(void);

#endif							/* IDEM_KEYED_H */
