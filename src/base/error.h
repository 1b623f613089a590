/*
 * error.h
 *	  The conditions of idem's own that clients branch on, class ID.
 */
#ifndef IDEM_ERROR_H
#define IDEM_ERROR_H

#include "base/compat.h"

#define ERRCODE_IDEM_KEY_MISMATCH		MAKE_SQLSTATE('I', 'D', '0', '0', '1')
#define ERRCODE_IDEM_LEASE_LOST			MAKE_SQLSTATE('I', 'D', '0', '0', '2')
#define ERRCODE_IDEM_NO_CLAIM			MAKE_SQLSTATE('I', 'D', '0', '0', '3')
#define ERRCODE_IDEM_TRANSITION			MAKE_SQLSTATE('I', 'D', '2', '0', '1')
#define ERRCODE_IDEM_STATE_CONFLICT		MAKE_SQLSTATE('I', 'D', '2', '0', '2')
#define ERRCODE_IDEM_VERSION_CONFLICT	MAKE_SQLSTATE('I', 'D', '2', '0', '3')
#define ERRCODE_IDEM_GUARD				MAKE_SQLSTATE('I', 'D', '2', '0', '4')
#define ERRCODE_IDEM_ROW_NOT_FOUND		MAKE_SQLSTATE('I', 'D', '2', '0', '5')
#define ERRCODE_IDEM_LATE_MESSAGE		MAKE_SQLSTATE('I', 'D', '3', '0', '1')
#define ERRCODE_IDEM_OFFSET_GAP			MAKE_SQLSTATE('I', 'D', '3', '0', '2')
#define ERRCODE_IDEM_NOT_DUE			MAKE_SQLSTATE('I', 'D', '4', '0', '1')

extern void idem_error_push_context(ErrorContextCallback *context,
									void (*tell) (void *arg), const void *arg);
extern void idem_error_pop_context(const ErrorContextCallback *context);
extern bool idem_error_is_circumstance(int sqlstate);
pg_noreturn extern void idem_error_null(const char *argument);
pg_noreturn extern void idem_error_length(const char *argument, int length,
										  int least, int most);
pg_noreturn extern void idem_error_no_relation(Oid relid);
pg_noreturn extern void idem_error_no_column(Oid relid, const char *name);
extern int	idem_error_table(Oid relid);
pg_noreturn extern void idem_error_no_row(Oid relid, const char *id,
										  const char *hint);
pg_noreturn extern void idem_error_serialization(const char *key);
pg_noreturn extern void idem_error_prevented(const char *table);
pg_noreturn extern void idem_error_trigger(const char *function,
										   const char *what, const char *hint);

#endif							/* IDEM_ERROR_H */
