/*
 * constraint_modes.h
 *	  When the constraints of a transaction are checked.
 */
#ifndef IDEM_CONSTRAINT_MODES_H
#define IDEM_CONSTRAINT_MODES_H

extern void idem_constraint_modes_reset(void);
extern void idem_constraint_modes_fire(void);

#endif							/* IDEM_CONSTRAINT_MODES_H */
