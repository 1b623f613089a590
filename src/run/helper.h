/*
 * helper.h
 *	  The functions that only idem's own statements call.
 */
#ifndef IDEM_HELPER_H
#define IDEM_HELPER_H

extern const char *idem_helper_begin(const char *text);
extern void idem_helper_end(const char *outer);
extern void idem_helper_init(void);

#endif							/* IDEM_HELPER_H */
