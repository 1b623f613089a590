/*
 * named_objects.h
 *	  What a query names, and whose that is.
 */
#ifndef IDEM_NAMED_OBJECTS_H
#define IDEM_NAMED_OBJECTS_H

#include "nodes/parsenodes.h"

/* Kinds of what is named. */
#define IDEM_NAMED_RELATION	1	/* one that it reads or writes */
#define IDEM_NAMED_DOMAIN	2	/* one whose checks it runs */
#define IDEM_NAMED_FUNCTION	4	/* one that it calls, also as an operator's */

/* What is named. */
typedef struct IdemNamedObject
{
	int			kind;
	Oid			oid;
	const char *name;
	Oid			schema;
	Oid			owner;
} IdemNamedObject;

typedef void (*IdemNamedObjectCheck) (const IdemNamedObject *object,
									  void *context);

extern void idem_named_objects_check(Query *query, int kinds,
									 IdemNamedObjectCheck check, void *context);
extern void idem_named_objects_check_entry(const RangeTblEntry *entry,
										   IdemNamedObjectCheck check,
										   void *context);
extern void idem_named_objects_check_relation(Oid relid,
											  IdemNamedObjectCheck check,
											  void *context);

#endif							/* IDEM_NAMED_OBJECTS_H */
