/*
 * client -- what people ask a master for: submit in cluster mode and follow, list, status, wait, logs, kill.
 *
 * One question a process.  What the application printed comes out on `out` and `err` as it was printed, byte for byte
 * and once, also across a restart of the master; what this program has to say goes to `err`.
 *
 * Owner: the one who made it.  Threads: the loop's.
 */
#ifndef CLIENT_CLIENT_H
#define CLIENT_CLIENT_H
#include "uplink/uplink.h"
#include "flow/module.h"
#include "submit/options.h"

enum client_verb { CLIENT_SUBMIT, CLIENT_LIST, CLIENT_STATUS, CLIENT_WAIT, CLIENT_LOGS, CLIENT_KILL };

enum { CLIENT_PIECE = 256 << 10, CLIENT_PIECES = 4 }; /* of a blob; unanswered at a time */

struct client_blob {
    int use; /* BlobUse */
    const char *name;
    int fd;
    uint64_t size;
    unsigned char sha256[32];
};
struct client_opts {
    enum client_verb verb;
    const char *id;                      /* of STATUS, WAIT, LOGS, KILL */
    bool json;                           /* LIST, STATUS */
    bool follow;                         /* LOGS: until it ended */
    struct client_part {                 /* KILL: of the application only this; _1: plus one; 0: not meant */
        uint32_t job, stage_1, partition_1, attempt_1;
    } part;
    int out, err;                        /* descriptors */
    const struct submit_options *submit; /* SUBMIT: the line */
    const struct module_info *module;    /* SUBMIT: checked against each worker */
    const struct module_info *libs;      /* SUBMIT: those among the blobs, in the order of loading */
    size_t n_libs;
    const struct client_blob *blobs;     /* SUBMIT: the module first */
    size_t n_blobs;
    unsigned char key[16];               /* SUBMIT: random; by it the master knows what it was told before */
    uint64_t look_ns;                    /* SUBMIT, WAIT: how often to look why nothing happens; 0: 1 s */
    struct uplink_opts conn;               /* but the calls and their arg */
};
struct client;
/* Stops the loop when it is over.  o and what it names must live as long. */
struct client *client_new(struct loop *l, const struct client_opts *o);
/* Of a submission that is followed: the first one asks the master to kill it and waits on, the second one leaves.
 * SIGHUP leaves at once and kills nothing.  Anything else ends. */
void client_signal(struct client *c, int signo);
/* Exit status of the process. */
int client_status(const struct client *c);
void client_free(struct client *c);

/* The mains: `taskd submit` in cluster mode (argv as taskd-submit's) and the verbs; argv[0] "taskd VERB" says which. */
int client_main(int argc, char **argv, char **envp);
#endif
