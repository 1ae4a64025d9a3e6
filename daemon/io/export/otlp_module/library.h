/*
 * The beginning and the end of gRPC in this process: it has threads while channels are open, and none
 * once the last one is closed. It makes no channels. Any thread.
 */
#ifndef DWELL_OTLP_MODULE_LIBRARY_H
#define DWELL_OTLP_MODULE_LIBRARY_H

/* Before a channel is made. */
void library_begin(void);

/* After it is gone; once for each begin. The last one waits for gRPC's threads, a second at most. */
void library_end(void);

#endif
