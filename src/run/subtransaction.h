/*
 * subtransaction.h
 *	  Work whose error is caught.
 */
#ifndef IDEM_SUBTRANSACTION_H
#define IDEM_SUBTRANSACTION_H

extern ErrorData *idem_subtransaction_try(bool (*work) (void *arg), void *arg);

#endif							/* IDEM_SUBTRANSACTION_H */
