/*
 * emit.h
 *	  Putting a message into the outbox.
 */
#ifndef IDEM_EMIT_H
#define IDEM_EMIT_H

#define IDEM_EMIT_TOPIC_LENGTH	255 /* bytes */

#endif							/* IDEM_EMIT_H */
