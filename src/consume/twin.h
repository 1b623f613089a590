/*
 * twin.h
 *	  An index of the messages that is being built anew beside the old one.
 */
#ifndef IDEM_TWIN_H
#define IDEM_TWIN_H

extern void idem_twin_init(void);
extern bool idem_twin_is_built(void);

#endif							/* IDEM_TWIN_H */
