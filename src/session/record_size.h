/*
 * record_size.h
 *	  How much memory the record of a transaction may take before it is written.
 */
#ifndef IDEM_RECORD_SIZE_H
#define IDEM_RECORD_SIZE_H

#include "session/row_text.h"

extern void idem_record_size_add_entry(void);
extern void idem_record_size_add_value(Size length);
extern void idem_record_size_add_error(const ErrorData *error);
extern void idem_record_size_take_rows(const IdemRows *rows);

#endif							/* IDEM_RECORD_SIZE_H */
