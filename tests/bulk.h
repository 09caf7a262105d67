/* bulk -- what the tests of the bulk server and client share: one of each in one loop, and a folder with files. */
#ifndef TESTS_BULK_H
#define TESTS_BULK_H
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "net/bulk.h"
#include "net/loop.h"
#include "unit.h"

struct rig {
    struct loop *l;
    char dir[64];
    char address[64];
    unsigned char secret[BULK_SECRET];
    struct bulk_server *s;
    struct bulk_client *c;
    const struct tls_files *tls;
};
/* A folder, a server of it for the app "app", and a client; fields of the options that are 0 get quick values. */
void rig_init(struct rig *r, const struct bulk_server_opts *so, const struct bulk_client_opts *co);
void rig_fini(struct rig *r);
void rig_server(struct rig *r, const struct bulk_server_opts *so); /* port 0: any */
void rig_client(struct rig *r, const struct bulk_client_opts *co);
/* n bytes that depend on the place and on the seed. */
void rig_file(struct rig *r, const char *name, size_t n, unsigned seed);
unsigned char rig_byte(uint64_t at, unsigned seed);
/* Runs the loop until cond holds; fails the test after 20 s. */
void rig_until(struct rig *r, bool (*cond)(void *arg), void *arg);
void rig_until_refused(struct rig *r, uint64_t n);
void rig_until_connections(struct rig *r, uint32_t n);
struct bulk_server_stats rig_stats(struct rig *r);

struct got {
    bool done;
    struct err *e;
    uint64_t got, size;
    int fd;
    unsigned *count;
};
/* Starts a get into a memfd of its own, to the place that the bytes have in the file, or to `at`. */
void rig_start(struct rig *r, const char *name, uint64_t offset, uint64_t length, struct got *g);
void rig_start_at(struct rig *r, const char *name, uint64_t offset, uint64_t length, uint64_t at, struct got *g);
void rig_wait(struct rig *r, struct got *g);
void rig_get(struct rig *r, const char *name, uint64_t offset, uint64_t length, struct got *g);
/* [offset, offset + n) of the file with the seed lies at `at` of the target. */
void rig_check(struct got *g, uint64_t at, uint64_t offset, uint64_t n, unsigned seed);
void got_fini(struct got *g);

/* A connection of our own making to the server; blocking with a time-out of 20 s is the caller's: the loop must run. */
int rig_connect(struct rig *r);
/* Reads n bytes while the loop runs; false: the connection ended before. */
bool rig_read(struct rig *r, int fd, void *p, size_t n);
void rig_write(int fd, const void *p, size_t n);
/* Proves itself on a new connection. */
int rig_admitted(struct rig *r);
unsigned open_descriptors(void);

extern const struct unit_test bulk_hostile_tests[], bulk_tls_tests[];
#endif
