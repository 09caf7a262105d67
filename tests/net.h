/* What the files of the net tests share. */
#ifndef TESTS_NET_H
#define TESTS_NET_H
void ring_round_trip(void);
void ring_wraps(void);
void ring_fills(void);
void ring_sealed(void);
void ring_scribbled(void);
void ring_processes(void);
void ring_ping_pong(void);
void ring_stream(void);
void ring_flood(void);
void recorder_bounded(void);
void frame_sizes(void);
void frame_descriptors(void);
void frame_malformed(void);
void frame_unsealed(void);
void frame_limits(void);
void frame_lost_peer(void);
void frame_in_loop(void);
void frame_closed_in_handler(void);
void link_joins(void);
void link_batches(void);
void link_closes(void);
void link_closed_in_handler(void);
#endif
