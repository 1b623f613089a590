/*
 * record.h
 *	  Changes of state as a key remembers them.
 */
#ifndef IDEM_RECORD_H
#define IDEM_RECORD_H

#include "lib/stringinfo.h"
#include "utils/jsonb.h"

#include "key/key.h"
#include "transition/change.h"

extern Jsonb *idem_record_write(const IdemChange *change);
extern void idem_record_read(const IdemAnswer *answer, IdemChange *change);
extern Jsonb *idem_record_write_set(int count, Jsonb **ids,
									const IdemChange *changes);
extern void idem_record_read_set(const IdemAnswer *answer, int count,
								 IdemChange *changes);

#endif							/* IDEM_RECORD_H */
