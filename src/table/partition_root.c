/*
 * partition_root.c
 *	  The tables that partitions are of.
 *
 * A partition that DETACH CONCURRENTLY has left half detached is one still: it
 * has its constraint, transactions that began before may write to it by the
 * table's name, and it can stay so for any time if that command was cancelled.
 * For get_partition_ancestors() it has no parent any more.
 */
#include "postgres.h"

#include "catalog/partition.h"
#include "nodes/pg_list.h"
#include "utils/lsyscache.h"

#include "table/partition_root.h"

/* The topmost partitioned table that a partition is a part of. */
Oid
idem_partition_root(Oid partition)
{
	Oid			root = partition;

	Assert(get_rel_relispartition(partition));
	do
	{
		List	   *ancestors = get_partition_ancestors(root);

		root = ancestors != NIL ? llast_oid(ancestors) :
			get_partition_parent(root, true);
		list_free(ancestors);
	} while (get_rel_relispartition(root));
	return root;
}
