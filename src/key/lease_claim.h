/*
 * lease_claim.h
 *	  Claims of keys: how a session gets one, and how one shows.
 */
#ifndef IDEM_LEASE_CLAIM_H
#define IDEM_LEASE_CLAIM_H

#include "key/key.h"

extern bool idem_lease_claim(IdemKey *key, bool wait, IdemKeyRow *row);
extern IdemKeyState idem_lease_claim_look_up(IdemKey *key, int options,
											 IdemKeyRow *row);
extern bool idem_lease_claim_is_pending(IdemKeyState found,
										const IdemKeyRow *row);

#endif							/* IDEM_LEASE_CLAIM_H */
