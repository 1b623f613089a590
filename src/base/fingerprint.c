/*
 * fingerprint.c
 *	  A 128-bit digest of what a call asks for.
 *
 * A client that can make another request with the same fingerprint is answered
 * for it with the answer of the first: it has, say, the receipt of an amount
 * that it did not pay.  So a fingerprint is the first half of a SHA-256.
 *
 * Fingerprints are stored, dumped, restored and replicated, so the same request
 * must have the same one on every server version and architecture.  Each item
 * is hashed after its tag, and a text after its length, so that items cannot run
 * into one another; numbers are in network order, and text counts as UTF-8,
 * whatever the database's encoding is.  In a SQL_ASCII database, which does not
 * know what its bytes mean, they count as they are.
 *
 * What is added is collected, and hashed at the end: each turn of the hash has a
 * price of its own, and so has making one, which a session does once.  Only what is
 * long is hashed as it comes, by a hash of its own.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "common/sha2.h"
#include "mb/pg_wchar.h"
#include "port/pg_bswap.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/resowner.h"
#include "utils/syscache.h"

#include "base/error.h"
#include "base/fingerprint.h"
#include "base/invalidation.h"

#define MAX_COLLECTED	8192	/* bytes */

/* What a relation is called, as long as nothing says that it may have changed. */
typedef struct RelationName
{
	Oid			relid;			/* the one that is watched */
	bool		valid;
	Oid			named;			/* the one that is called this; InvalidOid:
								 * none */
	char		schema[NAMEDATALEN];
	char		name[NAMEDATALEN];
} RelationName;

static RelationName relation_names[4];

pg_noreturn static void
error_hash(pg_cryptohash_ctx *hash)
{
	elog(ERROR, "could not compute a fingerprint: %s",
		 pg_cryptohash_error(hash));
}

static void
begin_hash(pg_cryptohash_ctx *hash)
{
	if (pg_cryptohash_init(hash) < 0)
		error_hash(hash);
}

static void
add_to_hash(pg_cryptohash_ctx *hash, const char *data, int length)
{
	if (pg_cryptohash_update(hash, (const uint8 *) data, length) < 0)
		error_hash(hash);
}

static pg_uuid_t
end_hash(pg_cryptohash_ctx *hash)
{
	uint8		digest[PG_SHA256_DIGEST_LENGTH];
	pg_uuid_t	value;

	if (pg_cryptohash_final(hash, digest, sizeof(digest)) < 0)
		error_hash(hash);
	memcpy(value.data, digest, UUID_LEN);
	return value;
}

static pg_cryptohash_ctx *
make_hash(void)
{
	pg_cryptohash_ctx *hash = pg_cryptohash_create(PG_SHA256);

	if (hash == NULL)
		error_hash(hash);
	return hash;
}

/*
 * The session's own hash, for what is hashed in one turn: nothing else comes in
 * between.  The server frees a hash with what owns it when that is released, which
 * this owner never is; and one that was built without OpenSSL takes its memory from the
 * current context.
 */
static pg_cryptohash_ctx *
session_hash(void)
{
	static pg_cryptohash_ctx *hash = NULL;
	static ResourceOwner owner = NULL;
	ResourceOwner former = CurrentResourceOwner;
	MemoryContext caller;

	if (hash != NULL)
		return hash;
	if (owner == NULL)
		owner = ResourceOwnerCreate(NULL, "idem fingerprint");
	CurrentResourceOwner = owner;
	caller = MemoryContextSwitchTo(TopMemoryContext);
	PG_TRY();
	{
		hash = make_hash();
	}
	PG_FINALLY();
	{
		MemoryContextSwitchTo(caller);
		CurrentResourceOwner = former;
	}
	PG_END_TRY();
	return hash;
}

/* Hashes what has been collected, and then so many bytes of data. */
static void
hash_bytes(IdemFingerprint *fp, const char *data, int length)
{
	if (fp->hash == NULL)
	{
		fp->hash = make_hash();
		begin_hash(fp->hash);
	}
	add_to_hash(fp->hash, fp->text.data, fp->text.len);
	add_to_hash(fp->hash, data, length);
	resetStringInfo(&fp->text);
}

/* The next so many bytes of what is collected, to be filled in. */
static inline char *
collect(IdemFingerprint *fp, int length)
{
	char	   *place;

	if (unlikely(fp->text.len + length >= fp->text.maxlen))
		enlargeStringInfo(&fp->text, length);
	place = fp->text.data + fp->text.len;
	fp->text.len += length;
	return place;
}

static inline void
add_tag(IdemFingerprint *fp, char tag)
{
	*collect(fp, 1) = tag;
}

/* Adds one item; tag says of what kind it is. */
static void
add_bytes(IdemFingerprint *fp, char tag, const char *data, int length)
{
	bool		is_long = fp->text.len + length > MAX_COLLECTED;
	char	   *place = collect(fp, 1 + sizeof(uint32) + (is_long ? 0 : length));
	uint32		network = pg_hton32(length);

	*place++ = tag;
	memcpy(place, &network, sizeof(network));
	if (is_long)
		hash_bytes(fp, data, length);
	else
		memcpy(place + sizeof(network), data, length);
}

static void
add_text(IdemFingerprint *fp, char tag, const char *data, int length)
{
	char	   *utf8 = unconstify(char *, data);

	if (GetDatabaseEncoding() != PG_SQL_ASCII)
		utf8 = pg_server_to_any(data, length, PG_UTF8);
	add_bytes(fp, tag, utf8, utf8 == data ? length : (int) strlen(utf8));
}

/* Begins the fingerprint of an operation. */
void
idem_fingerprint_init(IdemFingerprint *fp, const char *operation)
{
	initStringInfo(&fp->text);
	fp->hash = NULL;
	idem_fingerprint_string(fp, operation);
}

void
idem_fingerprint_string(IdemFingerprint *fp, const char *string)
{
	add_text(fp, 's', string, strlen(string));
}

/*
 * Adds a token of a language and, unless text is NULL, what stands there.  A text ends
 * with a zero byte, which none has within: shorter than with a length in front, for
 * what has many tokens.  What tokens are followed by must not begin with one.
 */
void
idem_fingerprint_token(IdemFingerprint *fp, unsigned char token, const char *text)
{
	const char *utf8 = text;
	int			length;

	add_tag(fp, token);
	if (text == NULL)
		return;
	if (GetDatabaseEncoding() != PG_SQL_ASCII)
		utf8 = pg_server_to_any(text, strlen(text), PG_UTF8);
	length = strlen(utf8) + 1;
	if (fp->text.len + length > MAX_COLLECTED)
		hash_bytes(fp, utf8, length);
	else
		memcpy(collect(fp, length), utf8, length);
}

void
idem_fingerprint_int8(IdemFingerprint *fp, int64 value)
{
	uint64		network = pg_hton64(value);
	char	   *place = collect(fp, 1 + sizeof(network));

	*place++ = 'i';
	memcpy(place, &network, sizeof(network));
}

/* Adds that something was not given. */
void
idem_fingerprint_null(IdemFingerprint *fp)
{
	add_tag(fp, 'z');
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
			add_tag(fp, v.val.array.rawScalar ? '(' : '[');
		else if (token == WJB_END_ARRAY)
			add_tag(fp, ']');
		else if (token == WJB_BEGIN_OBJECT)
			add_tag(fp, '{');
		else if (token == WJB_END_OBJECT)
			add_tag(fp, '}');
		else
			add_scalar(fp, token == WJB_KEY ? 'k' : 't', &v);
	}
}

/*
 * What a relation is called.  A session asks for that of a few, again and again.  What
 * is kept is read anew where it is not valid.
 */
static const RelationName *
relation_name(Oid relid)
{
	RelationName *kept = &relation_names[relid % lengthof(relation_names)];
	char	   *schema;
	char	   *name;

	if (kept->valid && kept->named == relid)
		return kept;
	/* until the names are there: to read them may end in an error */
	kept->named = InvalidOid;
	kept->relid = relid;
	/* before it is read, so that a change that comes in meanwhile counts */
	kept->valid = true;
	schema = get_namespace_name(get_rel_namespace(relid));
	name = get_rel_name(relid);
	if (schema == NULL || name == NULL)
		idem_error_no_relation(relid);
	strlcpy(kept->schema, schema, NAMEDATALEN);
	strlcpy(kept->name, name, NAMEDATALEN);
	kept->named = relid;
	return kept;
}

/* Adds a relation by its qualified name, which outlives its OID. */
void
idem_fingerprint_relation(IdemFingerprint *fp, Oid relid)
{
	const RelationName *relation = relation_name(relid);

	idem_fingerprint_string(fp, relation->schema);
	idem_fingerprint_string(fp, relation->name);
}

/*
 * Adds the schemas in which names are looked for, by their own names: tenants that
 * have a schema each must not be answered each other's rows.  A session's temporary
 * schema is another one in the session that retries.
 */
void
idem_fingerprint_search_path(IdemFingerprint *fp)
{
	List	   *path = fetch_search_path(false);
	ListCell   *lc;

	foreach(lc, path)
	{
		char	   *name = get_namespace_name(lfirst_oid(lc));

		if (name != NULL && !isTempNamespace(lfirst_oid(lc)))
			idem_fingerprint_string(fp, name);
	}
	list_free(path);
}

/* The fingerprint of all that was added; nothing can be added from then on. */
pg_uuid_t
idem_fingerprint_value(IdemFingerprint *fp)
{
	pg_cryptohash_ctx *hash = fp->hash;
	pg_uuid_t	value;

	Assert(fp->text.data != NULL);	/* it is asked for once */
	if (hash == NULL)
	{
		hash = session_hash();
		begin_hash(hash);
	}
	add_to_hash(hash, fp->text.data, fp->text.len);
	value = end_hash(hash);
	if (fp->hash != NULL)
		pg_cryptohash_free(fp->hash);
	pfree(fp->text.data);
	fp->text.data = NULL;
	return value;
}

static void
schema_changed(Datum arg, int cacheid, uint32 hashvalue)
{
	for (int i = 0; i < lengthof(relation_names); i++)
		relation_names[i].valid = false;
}

/* Registers for invalidations.  To be called once, from _PG_init. */
void
idem_fingerprint_register(void)
{
	for (int i = 0; i < lengthof(relation_names); i++)
		idem_invalidation_watch(&relation_names[i].relid,
								&relation_names[i].valid);
	CacheRegisterSyscacheCallback(NAMESPACEOID, schema_changed, (Datum) 0);
}
