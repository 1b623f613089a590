/*
 * fingerprint.c
 *	  A 64-bit digest of what a call asks for.
 *
 * Fingerprints are stored, dumped, restored and replicated, so the same
 * request must have the same one on every server version and architecture.
 * The server's own hash functions do not promise that (they read words in the
 * machine's byte order), hence the hash here: MurmurHash64A (Austin Appleby,
 * public domain) over each item's bytes read as little-endian words, each item
 * preceded by its tag and length so that items cannot run into one another.
 * Text counts as UTF-8, whatever the database's encoding is.
 *
 * A fingerprint tells an honest client that it re-used a key.  It is not a
 * defence against one that looks for collisions, which could only cheat
 * itself: a key is answered to its owner alone.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "port/pg_bswap.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"

#include "error.h"
#include "fingerprint.h"

#define MULTIPLIER	UINT64CONST(0xc6a4a7935bd1e995)

static inline uint64
mix(uint64 hash, uint64 word)
{
	word *= MULTIPLIER;
	word ^= word >> 47;
	word *= MULTIPLIER;
	hash ^= word;
	return hash * MULTIPLIER;
}

/* The up to eight bytes at data as a little-endian number. */
static inline uint64
load_word(const char *data, int length)
{
	uint64		word = 0;

	memcpy(&word, data, length);
#ifdef WORDS_BIGENDIAN
	word = pg_bswap64(word);
#endif
	return word;
}

/* Adds one item; tag says of what kind it is. */
static void
add_bytes(IdemFingerprint *fp, char tag, const char *data, int length)
{
	uint64		hash = mix(fp->state,
						   ((uint64) (unsigned char) tag << 32) | (uint32) length);

	for (; length >= 8; data += 8, length -= 8)
		hash = mix(hash, load_word(data, 8));
	if (length > 0)
		hash = mix(hash, load_word(data, length));
	fp->state = hash;
}

static void
add_text(IdemFingerprint *fp, char tag, const char *data, int length)
{
	char	   *utf8 = pg_server_to_any(data, length, PG_UTF8);

	add_bytes(fp, tag, utf8, utf8 == data ? length : (int) strlen(utf8));
}

/* Begins the fingerprint of an operation. */
void
idem_fingerprint_init(IdemFingerprint *fp, const char *operation)
{
	fp->state = MULTIPLIER;
	idem_fingerprint_string(fp, operation);
}

void
idem_fingerprint_string(IdemFingerprint *fp, const char *string)
{
	add_text(fp, 's', string, strlen(string));
}

void
idem_fingerprint_int8(IdemFingerprint *fp, int64 value)
{
	fp->state = mix(mix(fp->state, 'i'), (uint64) value);
}

/* Adds that something was not given. */
void
idem_fingerprint_null(IdemFingerprint *fp)
{
	fp->state = mix(fp->state, 'z');
}

static void
add_scalar(IdemFingerprint *fp, char string_tag, const JsonbValue *v)
{
	char	   *digits;

	switch (v->type)
	{
		case jbvString:
			add_text(fp, string_tag, v->val.string.val, v->val.string.len);
			break;
		case jbvNumeric:
			digits = numeric_normalize(v->val.numeric);
			add_bytes(fp, 'n', digits, strlen(digits));
			pfree(digits);
			break;
		case jbvBool:
			idem_fingerprint_int8(fp, v->val.boolean);
			break;
		case jbvNull:
			idem_fingerprint_null(fp);
			break;
		default:
			elog(ERROR, "unexpected jsonb value of type %d", (int) v->type);
	}
}

/*
 * Adds a JSON value.  Equal values add the same: jsonb keeps an object's
 * fields sorted and unique, and numbers count by value (1.0 is 1.00).
 */
void
idem_fingerprint_jsonb(IdemFingerprint *fp, Jsonb *value)
{
	JsonbIterator *it = JsonbIteratorInit(&value->root);
	JsonbIteratorToken token;
	JsonbValue	v;

	while ((token = JsonbIteratorNext(&it, &v, false)) != WJB_DONE)
	{
		if (token == WJB_BEGIN_ARRAY)
			fp->state = mix(fp->state, v.val.array.rawScalar ? '(' : '[');
		else if (token == WJB_END_ARRAY)
			fp->state = mix(fp->state, ']');
		else if (token == WJB_BEGIN_OBJECT)
			fp->state = mix(fp->state, '{');
		else if (token == WJB_END_OBJECT)
			fp->state = mix(fp->state, '}');
		else
			add_scalar(fp, token == WJB_KEY ? 'k' : 't', &v);
	}
}

/* Adds a relation by its qualified name, which outlives its OID. */
void
idem_fingerprint_relation(IdemFingerprint *fp, Oid relid)
{
	char	   *schema = get_namespace_name(get_rel_namespace(relid));
	char	   *name = get_rel_name(relid);

	if (schema == NULL || name == NULL)
		idem_error_no_relation(relid);
	idem_fingerprint_string(fp, schema);
	idem_fingerprint_string(fp, name);
}

/* What everything added so far comes to; as bigint, since that is stored. */
int64
idem_fingerprint_value(const IdemFingerprint *fp)
{
	uint64		hash = fp->state;

	hash ^= hash >> 47;
	hash *= MULTIPLIER;
	hash ^= hash >> 47;
	return (int64) hash;
}
