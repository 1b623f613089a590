/*
 * partition_root.h
 *	  The tables that partitions are of.
 */
#ifndef IDEM_PARTITION_ROOT_H
#define IDEM_PARTITION_ROOT_H

extern Oid	idem_partition_root(Oid partition);

#endif							/* IDEM_PARTITION_ROOT_H */
