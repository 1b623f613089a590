/*
 * fingerprint.h
 *	  A 128-bit digest of what a call asks for.
 */
#ifndef IDEM_FINGERPRINT_H
#define IDEM_FINGERPRINT_H

#include "common/cryptohash.h"
#include "lib/stringinfo.h"
#include "utils/jsonb.h"
#include "utils/uuid.h"

typedef struct IdemFingerprint
{
	StringInfoData text;		/* what has been added, and is not hashed yet */
	pg_cryptohash_ctx *hash;	/* of what came before, or NULL */
} IdemFingerprint;

extern void idem_fingerprint_init(IdemFingerprint *fp, const char *operation);
extern void idem_fingerprint_string(IdemFingerprint *fp, const char *string);
extern void idem_fingerprint_token(IdemFingerprint *fp, unsigned char token,
								   const char *text);
extern void idem_fingerprint_int8(IdemFingerprint *fp, int64 value);
extern void idem_fingerprint_null(IdemFingerprint *fp);
extern void idem_fingerprint_jsonb(IdemFingerprint *fp, Jsonb *value);
extern void idem_fingerprint_relation(IdemFingerprint *fp, Oid relid);
extern void idem_fingerprint_search_path(IdemFingerprint *fp);
extern pg_uuid_t idem_fingerprint_value(IdemFingerprint *fp);
extern void idem_fingerprint_register(void);

#endif							/* IDEM_FINGERPRINT_H */
