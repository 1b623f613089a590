/*
 * lose_ack.h
 *	  Losing acknowledgements on purpose.
 */
#ifndef IDEM_LOSE_ACK_H
#define IDEM_LOSE_ACK_H

extern void idem_lose_ack_init(void);

#endif							/* IDEM_LOSE_ACK_H */
