/*
 * insert.h
 *	  Inserting a row into a table of idem's own, without a statement.
 */
#ifndef IDEM_INSERT_H
#define IDEM_INSERT_H

extern bool idem_insert(Oid table, int natts, Datum *values, bool *isnull);

#endif							/* IDEM_INSERT_H */
