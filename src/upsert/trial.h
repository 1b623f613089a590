/*
 * trial.h
 *	  May an upsert be tried as an insert that does nothing where there is a row?
 */
#ifndef IDEM_TRIAL_H
#define IDEM_TRIAL_H

#include "upsert/target.h"

extern bool idem_trial_allowed(const IdemTarget *target);

#endif							/* IDEM_TRIAL_H */
