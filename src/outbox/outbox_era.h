/*
 * outbox_era.h
 *	  Eras of the outbox: in each, the numbers of transactions are those of one
 *	  cluster.
 */
#ifndef IDEM_OUTBOX_ERA_H
#define IDEM_OUTBOX_ERA_H

#include "access/transam.h"

#define IDEM_OUTBOX_ERA_BITS	44	/* of an id that count within its era:
									 * fits in what JavaScript takes for an
									 * integer until era 512 */

extern int32 idem_outbox_era(bool wait);
extern int32 idem_outbox_era_begin(int32 after);
extern void idem_outbox_era_check_filled(void);

#endif							/* IDEM_OUTBOX_ERA_H */
