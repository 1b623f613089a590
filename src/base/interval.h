/*
 * interval.h
 *	  How long an interval is.
 */
#ifndef IDEM_INTERVAL_H
#define IDEM_INTERVAL_H

#include "datatype/timestamp.h"

/* A span that never ends. */
#define IDEM_INTERVAL_ENDLESS	PG_INT64_MAX

extern int64 idem_interval_us(const Interval *interval, const char *argument);
extern int64 idem_interval_us_or_zero(const Interval *interval,
									  const char *argument);
extern bool idem_interval_parse(const char *text, int64 *us);
extern TimestampTz idem_interval_end(TimestampTz start, int64 us);

#endif							/* IDEM_INTERVAL_H */
