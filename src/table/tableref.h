/*
 * tableref.h
 *	  A table, as the history keeps it, and its name.
 */
#ifndef IDEM_TABLEREF_H
#define IDEM_TABLEREF_H

/* A value of idem_table: a varlena. */
typedef struct IdemTableref
{
	int32		vl_len_;
	Oid			relid;			/* InvalidOid: none here had that name */
	char		name[FLEXIBLE_ARRAY_MEMBER];	/* then; not terminated */
} IdemTableref;

extern IdemTableref *idem_tableref_make(Oid relid);
extern Oid	idem_tableref_relid(Datum value);

#endif							/* IDEM_TABLEREF_H */
