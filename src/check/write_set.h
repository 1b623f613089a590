/*
 * write_set.h
 *	  What is written from one moment of a transaction on.
 */
#ifndef IDEM_WRITE_SET_H
#define IDEM_WRITE_SET_H

#include "check/row_diff.h"

typedef struct IdemWriteSet IdemWriteSet;

extern IdemWriteSet *idem_write_set_begin(void);
extern void idem_write_set_read(IdemWriteSet *written);
extern void idem_write_set_read_undone(IdemWriteSet *written);
extern void idem_write_set_report(IdemWriteSet *written, IdemRowDiff *all);

#endif							/* IDEM_WRITE_SET_H */
