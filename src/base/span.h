/*
 * span.h
 *	  How long an interval is.
 */
#ifndef IDEM_SPAN_H
#define IDEM_SPAN_H

#include "datatype/timestamp.h"

/* A span that never ends. */
#define IDEM_SPAN_ENDLESS	PG_INT64_MAX

extern int64 idem_span_us(const Interval *interval, const char *argument);
extern bool idem_span_parse(const char *text, int64 *us);
extern TimestampTz idem_span_end(TimestampTz start, int64 us);

#endif							/* IDEM_SPAN_H */
