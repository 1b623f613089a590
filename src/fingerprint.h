/*
 * fingerprint.h
 *	  A 64-bit digest of what a call asks for.
 */
#ifndef IDEM_FINGERPRINT_H
#define IDEM_FINGERPRINT_H

#include "utils/jsonb.h"

typedef struct IdemFingerprint
{
	uint64		state;			/* of everything added so far */
} IdemFingerprint;

extern void idem_fingerprint_init(IdemFingerprint *fp, const char *operation);
extern void idem_fingerprint_string(IdemFingerprint *fp, const char *string);
extern void idem_fingerprint_int8(IdemFingerprint *fp, int64 value);
extern void idem_fingerprint_null(IdemFingerprint *fp);
extern void idem_fingerprint_jsonb(IdemFingerprint *fp, Jsonb *value);
extern void idem_fingerprint_relation(IdemFingerprint *fp, Oid relid);
extern int64 idem_fingerprint_value(const IdemFingerprint *fp);

#endif							/* IDEM_FINGERPRINT_H */
