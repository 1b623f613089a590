/*
 * key_generate.c
 *	  SQL: idem_new_key() and idem_derive_key(), keys for callers that have none.
 *
 * A new key is a version 7 UUID (RFC 9562): keys made one after the other lie
 * next to one another in the index, which spares WAL and cache.  PostgreSQL 18
 * has uuidv7(), but 15 to 17 do not, and a key should be made in one way on
 * all of them.
 *
 * A derived key is a version 8 UUID made of a SHA-256 digest, as the RFC's
 * appendix shows for names.  Derived keys are stored, sent to others and made
 * anew elsewhere, so what they are made of must never change.  As a UUID and
 * not the whole digest because 36 characters fit what payment providers and
 * columns of type uuid accept; 122 bits leave no accidental collisions.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "datatype/timestamp.h"
#include "fmgr.h"
#include "libpq/pqformat.h"
#include "mb/pg_wchar.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "base/error.h"
#include "key/key_generate.h"

#define UNIX_EPOCH \
	((POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY)

PG_FUNCTION_INFO_V1(idem_new_key);
PG_FUNCTION_INFO_V1(idem_derive_key);

/* Marks 16 bytes as a UUID of that version and returns it as text. */
static text *
uuid_text(pg_uuid_t *uuid, int version)
{
	Assert(version > 0 && version < 16);
	uuid->data[6] = (uuid->data[6] & 0x0f) | (version << 4);
	uuid->data[8] = (uuid->data[8] & 0x3f) | 0x80;
	return cstring_to_text(DatumGetCString(DirectFunctionCall1(uuid_out,
															   UUIDPGetDatum(uuid))));
}

/*
 * The time in 4096ths of a millisecond since 1970, later than at the call
 * before: where the clock stood still or went back, by the least there is.
 */
static uint64
next_tick(void)
{
	static int64 last = 0;
	int64		us = GetCurrentTimestamp() + UNIX_EPOCH;
	int64		tick = us / 1000 * 4096 + us % 1000 * 4096 / 1000;

	last = Max(tick, last + 1);
	/* 48 bits of milliseconds, and 12 that go on with them */
	Assert(last > 0 && last >> 60 == 0);
	return last;
}

/*
 * idem_new_key() -> text
 *
 * A key that no other call has, and that sorts after those made before by the
 * same backend, as text and as uuid.  The RFC's method 3: the 12 bits after the
 * milliseconds go on with the time.
 */
Datum
idem_new_key(PG_FUNCTION_ARGS)
{
	uint64		tick = next_tick();
	pg_uuid_t	uuid;

	for (int i = 0; i < 6; i++)
		uuid.data[i] = (unsigned char) (tick >> (52 - 8 * i));
	uuid.data[6] = (tick >> 8) & 0x0f;
	uuid.data[7] = tick & 0xff;
	if (!pg_strong_random(&uuid.data[8], UUID_LEN - 8))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not generate random values")));

	PG_RETURN_TEXT_P(uuid_text(&uuid, 7));
}

static void
add_part(StringInfo buf, text *part)
{
	int			length = VARSIZE_ANY_EXHDR(part);
	char	   *data = VARDATA_ANY(part);
	char	   *utf8 = data;

	if (GetDatabaseEncoding() != PG_SQL_ASCII)
		utf8 = pg_server_to_any(data, length, PG_UTF8);

	if (utf8 != data)
		length = strlen(utf8);
	pq_sendint32(buf, length);
	pq_sendbytes(buf, utf8, length);
}

/*
 * The key that these parts, in this order, always give: the digest of each part in
 * UTF-8 after its length in bytes, a 32-bit number in network order.
 */
text *
idem_key_generate_derived(text *const *parts, int count)
{
	StringInfoData buf;
	Datum		digest;
	pg_uuid_t	uuid;

	pq_begintypsend(&buf);
	for (int i = 0; i < count; i++)
		add_part(&buf, parts[i]);
	digest = DirectFunctionCall1(sha256_bytea,
								 PointerGetDatum(pq_endtypsend(&buf)));
	memcpy(uuid.data, VARDATA_ANY(DatumGetPointer(digest)), UUID_LEN);
	return uuid_text(&uuid, 8);
}

/*
 * idem_derive_key(VARIADIC parts text[]) -> text
 *
 * The key of these parts, as of idem_key_generate_derived.  The lengths keep ('a', 'bc') apart from ('ab', 'c').  In a SQL_ASCII database,
 * which does not know what its bytes mean, they count as they are.
 *
 * Raises 22004 where a part is null, 22023 where there is none or parts has
 * more than one dimension.
 */
Datum
idem_derive_key(PG_FUNCTION_ARGS)
{
	ArrayType  *parts;
	Datum	   *values;
	bool	   *isnull;
	int			count;
	text	  **texts;

	if (PG_ARGISNULL(0))
		idem_error_null("parts");
	parts = PG_GETARG_ARRAYTYPE_P(0);
	if (ARR_NDIM(parts) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"parts\" must be a list of at least one part"),
				 errdetail("It is an array of %d dimensions.", ARR_NDIM(parts))));

	deconstruct_array(parts, TEXTOID, -1, false, TYPALIGN_INT,
					  &values, &isnull, &count);
	texts = palloc(sizeof(text *) * count);
	for (int i = 0; i < count; i++)
	{
		if (isnull[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("\"parts\" must not contain nulls"),
					 errdetail("Part %d is null.", i + 1)));
		texts[i] = DatumGetTextPP(values[i]);
	}
	PG_RETURN_TEXT_P(idem_key_generate_derived(texts, count));
}
