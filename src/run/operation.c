/*
 * operation.c
 *	  Errors in statements that idem writes.
 *
 * SPI adds the text of its statement to the context of an error.  The caller has
 * not written that text, and learns nothing from it, so the operation takes its
 * place.
 */
#include "postgres.h"

#include "run/operation.h"

/* The line of a context that has this text in quotes, or NULL; end is behind it. */
static char *
find_line(char *context, const char *sql, char **end)
{
	char	   *quoted = psprintf("\"%s\"", sql);
	char	   *line = context == NULL ? NULL : strstr(context, quoted);

	if (line == NULL)
		return NULL;
	*end = line + strlen(quoted);
	*end += strcspn(*end, "\n");
	while (line > context && line[-1] != '\n')
		line--;
	return line;
}

/*
 * Says the operation where an error has the statement; false if the error is not
 * the statement's own, but that of a function that it called.
 */
static bool
replace(ErrorData *error, const char *said, const char *sql)
{
	char	   *end;
	char	   *line;
	int			before;

	/* that is how SPI tells of an error that has a place in the text */
	if (error->internalquery != NULL && strcmp(error->internalquery, sql) == 0)
	{
		error->internalquery = NULL;
		error->internalpos = 0;
		error->context = error->context == NULL ? pstrdup(said) :
			psprintf("%s\n%s", said, error->context);
		return true;
	}
	line = find_line(error->context, sql, &end);
	if (line == NULL)
		return false;
	before = line - error->context;
	error->context = psprintf("%.*s%s%s", before, error->context, said, end);
	return before == 0;
}

/*
 * Takes the error that was caught, as it is to be thrown again: its context names
 * the operation rather than the statement.  No catalog is looked at, since the
 * transaction has not cleaned up yet.
 */
ErrorData *
idem_operation_error(const IdemOperationOn *operation, const char *sql,
					 MemoryContext memory)
{
	ErrorData  *error;
	const char *hint = NULL;

	MemoryContextSwitchTo(memory);
	error = CopyErrorData();
	FlushErrorState();
	if (replace(error, operation->said, sql) && operation->kind->hint != NULL)
		hint = operation->kind->hint(error->sqlerrcode);
	if (hint != NULL)
		error->hint = pstrdup(_(hint));
	return error;
}
