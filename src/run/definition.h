/*
 * definition.h
 *	  What is defined of names that calls give, as a session keeps it.
 */
#ifndef IDEM_DEFINITION_H
#define IDEM_DEFINITION_H

#include "access/htup.h"
#include "access/tupdesc.h"
#include "fmgr.h"

#include "base/role.h"
#include "run/spi_own.h"

#define IDEM_DEFINITION_LENGTH	255 /* bytes of a name, at most */

/* A definition.  What is defined of a name begins with it. */
typedef struct IdemDefinition
{
	char		name[IDEM_DEFINITION_LENGTH + 1];
	bool		defined;		/* else all but the name does not count */
	Oid			owner;			/* role whose members may use the name */
} IdemDefinition;

/* Takes from a row what a kind of definitions has beside name and owner. */
typedef void (*IdemDefinitionReader) (HeapTuple row, TupleDesc desc,
									  IdemDefinition *definition);

/* Do two definitions of a name say the same, beside name and owner? */
typedef bool (*IdemDefinitionTest) (const IdemDefinition *a,
									const IdemDefinition *b);

/*
 * Arguments of a kind's statement that come before those of its own: the name, the
 * role that is to own it where it is new, and the role that must still own it where
 * it is not.
 */
#define IDEM_DEFINITION_ARGS	3

/*
 * A kind of definitions, and those that are kept.  Give it static storage, with all
 * but the last fields filled in.
 */
typedef struct IdemDefinitionKind
{
	const char *name;			/* for messages: "scope" */
	const char *table_name;
	size_t		table;			/* where IdemCatalog has the OID of the table */
	AttrNumber	name_column;	/* the primary key */
	AttrNumber	owner_column;
	int			least;			/* so many bytes a name must have */
	Size		size;			/* of what is kept of a name */
	IdemDefinitionReader read;	/* NULL: there is nothing more to read */
	IdemDefinitionTest same;	/* NULL: there is nothing more to differ */
	const IdemRoleError *denied;	/* the error when it is another role's */
	IdemStatement define;		/* $1 to be $2's, with the kind's own from $3
								 * on; only if it is nobody else's */
	IdemStatement drop;			/* of the row at $1, if its name is $2 */
	/* private to definition.c */
	Oid			relid;			/* the table that they were read from */
	uint64		generation;		/* of the catalog that they were read by */
	bool		valid;			/* reset when the table changes */
	bool		any;			/* is there any? */
	MemoryContext memory;
	HTAB	   *kept;			/* by name; also those that are not defined */
} IdemDefinitionKind;

extern void idem_definition_init(IdemDefinitionKind *kind);
extern void idem_definition_name(IdemDefinitionKind *kind,
								 IdemDefinition *definition, text *name);
extern bool idem_definition_any(IdemDefinitionKind *kind);
extern void idem_definition_find(IdemDefinitionKind *kind,
								 IdemDefinition *definition);
extern void idem_definition_begin(IdemDefinitionKind *kind,
								  FunctionCallInfo fcinfo, const char *function,
								  IdemDefinition *definition);
extern void idem_definition_define(IdemDefinitionKind *kind,
								   const IdemDefinition *wanted, Datum *args,
								   const bool *isnull);
extern bool idem_definition_drop(IdemDefinitionKind *kind,
								 IdemDefinition *definition);

#endif							/* IDEM_DEFINITION_H */
