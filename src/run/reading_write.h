/*
 * reading_write.h
 *	  Whether a call is part of a statement that writes by what it reads.
 */
#ifndef IDEM_READING_WRITE_H
#define IDEM_READING_WRITE_H

#include "fmgr.h"

extern bool idem_reading_write(FunctionCallInfo fcinfo);

#endif							/* IDEM_READING_WRITE_H */
