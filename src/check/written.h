/*
 * written.h
 *	  What is written from one moment of a transaction on.
 */
#ifndef IDEM_WRITTEN_H
#define IDEM_WRITTEN_H

#include "check/difference.h"

typedef struct IdemWritten IdemWritten;

extern IdemWritten *idem_written_begin(void);
extern void idem_written_read(IdemWritten *written);
extern void idem_written_read_undone(IdemWritten *written);
extern void idem_written_report(IdemWritten *written, IdemDifferences *all);

#endif							/* IDEM_WRITTEN_H */
