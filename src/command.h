/*
 * command.h
 *	  A command of the caller's, given as text.
 */
#ifndef IDEM_COMMAND_H
#define IDEM_COMMAND_H

#include "query.h"

extern IdemPlan *idem_command_plan(const char *text);

#endif							/* IDEM_COMMAND_H */
