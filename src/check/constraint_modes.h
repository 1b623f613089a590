/*
 * constraint_modes.h
 *	  When the constraints of a transaction are checked.
 */
#ifndef IDEM_CONSTRAINT_MODES_H
#define IDEM_CONSTRAINT_MODES_H

#include "nodes/pg_list.h"

/* So often what has been put off is done, which may put off more each time. */
#define IDEM_CONSTRAINT_ROUNDS	10

extern void idem_constraint_modes_reset(void);
extern List *idem_constraint_modes_fire(void);

#endif							/* IDEM_CONSTRAINT_MODES_H */
