/*
 * checkpoints.h
 *	  The steps that the holders of a claim have recorded.
 */
#ifndef IDEM_CHECKPOINTS_H
#define IDEM_CHECKPOINTS_H

#include "datatype/timestamp.h"
#include "utils/jsonb.h"

#include "key/key_table.h"

extern Datum idem_checkpoints_add(const IdemKeyRow *row, text *name,
								  Jsonb *data, TimestampTz recorded_at);
extern Datum idem_checkpoints_last(const IdemKeyRow *row, bool *isnull);

#endif							/* IDEM_CHECKPOINTS_H */
