/*
 * key_init.h
 *	  A key, and how its work is to be done, from the arguments of a function.
 */
#ifndef IDEM_KEY_INIT_H
#define IDEM_KEY_INIT_H

#include "key/key.h"

extern void idem_key_init(IdemKey *key, FunctionCallInfo fcinfo,
						  const char *function, int name, int scope, int ttl);
extern void idem_key_init_set(IdemKey *key, FunctionCallInfo fcinfo,
							  const char *function, int scope, int ttl);
extern void idem_key_init_member(IdemKey *key, const IdemKey *set, text *name);
extern void idem_key_init_held(IdemKey *key, FunctionCallInfo fcinfo,
							   const char *function, int name, int scope);
extern void idem_key_init_own(IdemKey *key, const char *scope, text *name,
							  Oid role);
extern void idem_key_init_setting(IdemKey *key, const char *name,
								  const char *function);
extern text *idem_key_init_name(FunctionCallInfo fcinfo, int name,
								const char *function);
extern void idem_key_init_any_role(IdemKey *key, FunctionCallInfo fcinfo,
								   const char *function, int name, int scope);
extern void idem_key_init_work(IdemKey *key, FunctionCallInfo fcinfo, int first);

#endif							/* IDEM_KEY_INIT_H */
