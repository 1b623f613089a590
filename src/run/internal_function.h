/*
 * internal_function.h
 *	  The functions that only idem's own statements call.
 */
#ifndef IDEM_INTERNAL_FUNCTION_H
#define IDEM_INTERNAL_FUNCTION_H

extern const char *idem_internal_function_begin(const char *text);
extern void idem_internal_function_end(const char *outer);
extern void idem_internal_function_init(void);

#endif							/* IDEM_INTERNAL_FUNCTION_H */
