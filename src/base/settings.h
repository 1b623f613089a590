/*
 * settings.h
 *	  idem's configuration parameters.
 */
#ifndef IDEM_SETTINGS_H
#define IDEM_SETTINGS_H

#define IDEM_MAX_KEY_LENGTH	255 /* bytes, of a key and of a scope */

extern char *idem_scope;		/* idem.scope: of keys whose call gives none */
extern char *idem_key_setting;	/* idem.key: of the transaction; empty: none */
extern bool idem_key_is_given;	/* is idem.key not empty? */
extern int	idem_key_reads;		/* idem.key_reads: bytes, of one query */
extern int	idem_key_match;		/* idem.key_match: one of those below */

enum
{
	IDEM_MATCH_EXACT,
	IDEM_MATCH_CLOCK
};

extern char *idem_store_name;	/* idem.store: schema of the store; "": idem's
								 * own tables */
extern int	idem_wait_timeout_ms;	/* idem.wait_timeout: for others, or 0 */
extern int	idem_history_retention_s;	/* idem.history_retention: seconds, or
										 * -1 */
extern int	idem_barrier_retention_s;	/* idem.barrier_retention: seconds, or
										 * -1 */
extern int	idem_fence_retention_s; /* idem.fence_retention: seconds, or -1 */
extern int	idem_purge_naptime_ms;	/* idem.purge_naptime: between rounds */
extern int	idem_purge_batch_size;	/* idem.purge_batch_size: rows */
extern int	idem_purge_delay_ms;	/* idem.purge_delay: between batches */
extern int	idem_log_purge_min_duration_ms; /* idem.log_purge_min_duration: or
											 * -1 */
extern bool idem_worker_enabled;	/* idem.worker: purge in the background? */

extern double idem_lose_ack;	/* idem.lose_ack: chance of a lost answer */
extern double idem_lose_request;	/* idem.lose_request: of a lost commit */
extern int	idem_lose_every;	/* idem.lose_every: every n-th answer; 0: none */
extern int	idem_lose_seed;		/* idem.lose_seed: of the chances; 0: random */

extern int64 idem_settings_ttl_us(void);
extern int64 idem_settings_ttl_or_zero(const char **text);
extern int64 idem_settings_cap_ttl(int64 us);
extern void idem_settings_check_ttl(int64 us, const char *name);
extern bool idem_settings_response_fits(Size size);
extern void idem_settings_check_response(Size size, const char *name);
extern void idem_settings_init(void);

#endif							/* IDEM_SETTINGS_H */
