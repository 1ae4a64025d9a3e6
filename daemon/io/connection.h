/*
 * One connection to the stream socket: finds out its format, feeds the decoder, sends the answers,
 * and ends in order. Records are core/intake's, formats are wire/'s. Loop thread only.
 */
#ifndef DWELL_IO_CONNECTION_H
#define DWELL_IO_CONNECTION_H

#include "io/ingest.h"

/* Takes `fd`, also when it fails: the connection closes and frees itself. Returns 0 or ERR_NOMEM. */
int connection_start(struct ingest *ingest, int fd, const struct ucred *who);

/* After a change of the ingest's options: what is open goes on under the new ones. */
void connection_obey_all(struct ingest *ingest);

/* For the end of the daemon: every connection reads what has already come, answers, closes. */
void connection_drain_all(struct ingest *ingest);

/* Closes every connection at once. */
void connection_close_all(struct ingest *ingest);

#endif
