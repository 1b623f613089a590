/*
 * command.h
 *	  A command of the caller's, given as text.
 */
#ifndef IDEM_COMMAND_H
#define IDEM_COMMAND_H

#include "utils/jsonb.h"

extern Datum idem_command_run(const char *text, Jsonb *params, bool keyed);

#endif							/* IDEM_COMMAND_H */
