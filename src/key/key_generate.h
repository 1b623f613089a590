/*
 * key_generate.h
 *	  Keys that are made here, rather than by a client.
 */
#ifndef IDEM_KEY_GENERATE_H
#define IDEM_KEY_GENERATE_H

#include "c.h"

extern text *idem_key_generate_derived(text *const *parts, int count);

#endif							/* IDEM_KEY_GENERATE_H */
