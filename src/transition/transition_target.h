/*
 * transition_target.h
 *	  A table in which transitions bring rows into a state.
 */
#ifndef IDEM_TRANSITION_TARGET_H
#define IDEM_TRANSITION_TARGET_H

#include "table/attachment.h"
#include "table/pk_value.h"
#include "table/target.h"

/* A table that follows machines, and the state wanted; for one call. */
typedef struct IdemTransitionTarget
{
	IdemTarget	table;			/* its key is the primary key */
	IdemAttachment attachment;	/* with the machine that is meant */
	const char *to;				/* the state */
	bool		routed;			/* are the rows elsewhere? */
	/* what the statements take: the key's columns, the state, the ticket */
	Oid			types[INDEX_MAX_KEYS + 2];
	Datum		values[INDEX_MAX_KEYS + 2];
} IdemTransitionTarget;

/* The statements.  Each returns the state and the version. */
typedef enum IdemTransitionStatement
{
	IDEM_TRANSITION_LOCK,		/* a row by its key */
	IDEM_TRANSITION_UPDATE		/* it, if _idem_change_met() says so, or,
								 * where rows are elsewhere, as it was locked */
} IdemTransitionStatement;

extern void idem_transition_target_open(IdemTransitionTarget *target,
										Oid relid, const char *machine,
										const char *column, const char *to,
										bool keyed);
extern void idem_transition_target_check_state(const IdemTransitionTarget *target,
											   const char *state);
extern void idem_transition_target_bind_row(IdemTransitionTarget *target,
											const IdemPkValue *id);
extern void idem_transition_target_show(IdemTransitionTarget *target,
										int64 ticket);
extern void idem_transition_target_close(IdemTransitionTarget *target);
extern const char *idem_transition_target_name(const IdemTransitionTarget *target);
extern Oid	idem_transition_target_state_type(const IdemTransitionTarget *target);
extern const char *idem_transition_target_state_text(const IdemTransitionTarget *target,
													 Datum state);
extern bool idem_transition_target_run(IdemTransitionTarget *target,
									   IdemTransitionStatement which,
									   const char **state, int64 *version);

#endif							/* IDEM_TRANSITION_TARGET_H */
