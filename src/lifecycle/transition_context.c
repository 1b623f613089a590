/*
 * transition_context.c
 *	  What a call means by the row that it changes, for the triggers of it.
 *
 * An UPDATE tells its triggers the old row and the new one, but neither the key
 * nor the note of the call that runs it.  So the call says before what it means,
 * its statement says which row it has met, and a trigger asks by the old row it
 * was given: by the place of that very row version, since triggers of the table
 * may change other rows, and other tables, in between.
 *
 * Who pushes a context pops it, also on an error: PG_FINALLY.
 */
#include "postgres.h"

#include "lifecycle/transition_context.h"

static IdemTransitionContext *current = NULL;

#ifdef USE_ASSERT_CHECKING
/* Is a change under way? */
static bool
is_current(const IdemTransitionContext *context)
{
	const IdemTransitionContext *outer = current;

	while (outer != NULL && outer != context)
		outer = outer->outer;
	return outer != NULL;
}
#endif

/* Begins a change; its fields say what it is. */
void
idem_transition_context_push(IdemTransitionContext *context)
{
	Assert(!is_current(context));
	context->relid = InvalidOid;
	ItemPointerSetInvalid(&context->tid);
	context->watched = false;
	context->outer = current;
	current = context;
}

/*
 * Notes the row version that the innermost change, if any, is to replace.  When
 * it is a newer one than the statement has found (EvalPlanQual), servers leave
 * out of which table: then it is the same as before.
 */
void
idem_transition_context_set_tuple(Oid relid, ItemPointer tid)
{
	if (current == NULL)
		return;
	if (OidIsValid(relid))
		current->relid = relid;
	current->tid = *tid;
	current->watched = false;
}

/* Ends a change, and those begun within it that an error has left over. */
void
idem_transition_context_pop(IdemTransitionContext *context)
{
	Assert(is_current(context));
	current = context->outer;
}

/*
 * The change that replaces a row version, or NULL when it is none of ours.  A
 * table is named by the oid of the partition that holds the row.
 */
IdemTransitionContext *
idem_transition_context_find(Oid relid, ItemPointer tid)
{
	for (IdemTransitionContext *context = current; context != NULL;
		 context = context->outer)
	{
		if (context->relid == relid && ItemPointerEquals(&context->tid, tid))
			return context;
	}
	return NULL;
}

/* Is a change, which may be NULL, one of the state in that column? */
bool
idem_transition_context_means(const IdemTransitionContext *context,
							  const char *column)
{
	return context != NULL && strcmp(context->column, column) == 0;
}
