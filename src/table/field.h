/*
 * field.h
 *	  Columns of a table as fields of a JSON object, and the other way round.
 */
#ifndef IDEM_FIELD_H
#define IDEM_FIELD_H

#include "catalog/pg_attribute.h"
#include "lib/stringinfo.h"
#include "nodes/pg_list.h"
#include "utils/jsonb.h"
#include "utils/relcache.h"

/*
 * Fields whose values may have other spellings than their columns would give them.
 * Numbers are the same to a fingerprint in any spelling; the others are not.
 */
typedef struct IdemSpelling
{
	List	   *names;			/* of all of them (char *) */
	bool		matters;		/* are there others than numbers? */
} IdemSpelling;

extern List *idem_field_names(Jsonb *object, const char *argument,
							  IdemSpelling *spelling);
extern Jsonb *idem_field_spell(Jsonb *object, Oid relid,
							   const IdemSpelling *spelling);
extern void idem_field_value(StringInfo buf, Form_pg_attribute att);
extern void idem_field_stored(StringInfo buf, Form_pg_attribute att);
extern const char *idem_field_collate(Oid collation);
extern void idem_field_row(StringInfo buf, Relation rel);

#endif							/* IDEM_FIELD_H */
