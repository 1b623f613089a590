/*
 * settings.h
 *	  idem's configuration parameters.
 */
#ifndef IDEM_SETTINGS_H
#define IDEM_SETTINGS_H

extern int	idem_ttl_s;			/* idem.ttl: seconds a result is kept */
extern int	idem_history_retention_s;	/* idem.history_retention: seconds, or
											 * -1 */
extern int	idem_purge_naptime_ms;	/* idem.purge_naptime: between rounds */
extern int	idem_purge_batch_size;	/* idem.purge_batch_size: rows */
extern int	idem_purge_delay_ms;	/* idem.purge_delay: between batches */
extern bool idem_worker_enabled;	/* idem.worker: purge in the background? */

extern void idem_settings_init(void);

#endif							/* IDEM_SETTINGS_H */
