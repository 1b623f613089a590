/*
 * interval.c
 *	  How long an interval is.
 *
 * A day counts as 24 hours and a month as 30 days, whatever the calendar and the
 * time zone say.  Were a key or a message kept longer at one time than at another,
 * one could have been forgotten that does not look it; and two sessions in two time
 * zones would mean two things by one lease.
 */
#include "postgres.h"

#include "common/int.h"
#include "utils/datetime.h"
#include "utils/timestamp.h"

#include "base/interval.h"

/*
 * So many microseconds; what is more than there can be never ends, and what is less
 * is negative all the same.
 */
static int64
add_up(int64 months, int64 days, int64 us)
{
	int64		sum;

	/* neither sum can overflow: both were 32-bit numbers */
	days += months * DAYS_PER_MONTH;
	if (pg_mul_s64_overflow(days, USECS_PER_DAY, &sum) ||
		pg_add_s64_overflow(sum, us, &sum))
		return days > 0 ? IDEM_INTERVAL_ENDLESS : -1;
	return sum;
}

/*
 * How many microseconds an interval stands for.  Raises 22023, with the name of the
 * argument, unless it is positive.
 */
int64
idem_interval_us(const Interval *interval, const char *argument)
{
	int64		us = add_up(interval->month, interval->day, interval->time);

	if (us <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" must be positive", argument)));
	return us;
}

/* The same, of an interval that may also be none at all. */
int64
idem_interval_us_or_zero(const Interval *interval, const char *argument)
{
	int64		us = add_up(interval->month, interval->day, interval->time);

	if (us < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" must not be negative", argument)));
	return us;
}

/*
 * How many microseconds an interval stands for that is given as text, in any
 * spelling that the type knows.  False if it is none, or not positive.  Raises
 * nothing: settings are read where an error would end the server.
 */
bool
idem_interval_parse(const char *text, int64 *us)
{
	char		buffer[256];
	char	   *fields[MAXDATEFIELDS];
	int			types[MAXDATEFIELDS];
	int			count;
	int			kind;
	struct pg_itm_in parts;
	int			result = ParseDateTime(text, buffer, sizeof(buffer), fields,
									   types, MAXDATEFIELDS, &count);

	if (result == 0)
		result = DecodeInterval(fields, types, count, INTERVAL_FULL_RANGE,
								&kind, &parts);
	if (result == DTERR_BAD_FORMAT && strlen(text) < sizeof(buffer))
	{
		strlcpy(buffer, text, sizeof(buffer));
		result = DecodeISO8601Interval(buffer, &kind, &parts);
	}
	if (result != 0 || kind != DTK_DELTA)
		return false;
	*us = add_up((int64) parts.tm_year * MONTHS_PER_YEAR + parts.tm_mon,
				 parts.tm_mday, parts.tm_usec);
	return *us > 0;
}

/* When a span ends that begins then. */
TimestampTz
idem_interval_end(TimestampTz start, int64 us)
{
	TimestampTz end;

	Assert(us > 0);
	if (us == IDEM_INTERVAL_ENDLESS)
		return DT_NOEND;
	if (TIMESTAMP_NOT_FINITE(start))
		return start;
	if (pg_add_s64_overflow(start, us, &end) || !IS_VALID_TIMESTAMP(end))
		return DT_NOEND;
	return end;
}
