/*
 * told.h
 *	  Whether sessions are told of every change of a table.
 */
#ifndef IDEM_TOLD_H
#define IDEM_TOLD_H

extern bool idem_told_of(Oid relid);

#endif							/* IDEM_TOLD_H */
