/*
 * index_twin.h
 *	  An index of the messages that is being built anew beside the old one.
 */
#ifndef IDEM_INDEX_TWIN_H
#define IDEM_INDEX_TWIN_H

extern void idem_index_twin_init(void);
extern bool idem_index_twin_is_built(void);

#endif							/* IDEM_INDEX_TWIN_H */
