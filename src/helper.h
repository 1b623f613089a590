/*
 * helper.h
 *	  The functions that only idem's own statements call.
 */
#ifndef IDEM_HELPER_H
#define IDEM_HELPER_H

extern void idem_helper_begin(void);
extern void idem_helper_end(void);
extern void idem_helper_init(void);

#endif							/* IDEM_HELPER_H */
