/*
 * purge_work.h
 *	  A piece of a purger's work: a transaction that comes to an end in time.
 */
#ifndef IDEM_PURGE_WORK_H
#define IDEM_PURGE_WORK_H

extern void idem_purge_work_init(int most_ms);
extern void idem_purge_work_begin(const char *what);
extern void idem_purge_work_end(void);
extern void idem_purge_work_fail(void);

#endif							/* IDEM_PURGE_WORK_H */
