/*
 * emit.h
 *	  Putting a message into the outbox.
 */
#ifndef IDEM_EMIT_H
#define IDEM_EMIT_H

#define IDEM_EMIT_TOPIC_LENGTH	255 /* bytes */

extern void idem_emit_check_name(const char *argument, text *name, int most);

#endif							/* IDEM_EMIT_H */
