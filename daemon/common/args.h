/*
 * args -- the command line of a daemon, from one table: what is accepted and what --help prints.
 *
 * Every daemon has --conf, --properties-file, --tls-ca, --tls-cert, --tls-key and --help besides the options of its own.
 *
 * Owner: values point into argv.  Threads: one.  Errors: ERR_USAGE, with a hint; ERR_CONFIG for a key's value.
 */
#ifndef COMMON_ARGS_H
#define COMMON_ARGS_H
#include "base/arena.h"
#include "conf/conf.h"

/* One option with a value.  Where the value goes says what it must be; one of the four is set. */
struct args_option {
    const char *name, *value;    /* "port", "PORT": --port PORT */
    char letter;                 /* 'p': -p PORT, too; 0: none */
    const char *help;            /* further lines after '\n' */
    const char **text;           /* anything */
    const char *key;             /* a value of this configuration key, set in its layer of flags */
    uint64_t *bytes;             /* a size above 0: 512m, 8g; a plain number is MiB, as in Spark */
    uint64_t *number, least, most;
};

struct args {
    const char *verb;       /* "master", of `taskd master` */
    const char *usage;      /* the lines that --help begins with */
    const char *properties; /* out: of --properties-file; NULL: none */
    bool help;              /* out: it was asked for, and printed */
    char **rest;            /* out: what is no option; ends with NULL */
};
/* own: the daemon's options; the last one has no name. */
struct err *args_parse(struct args *a, const struct args_option *own, struct conf *c, int argc, char **argv) MUST_USE;
/* The hint of an ERR_USAGE: where the options are listed. */
struct err *args_hint(const struct args *a, struct err *e);

/* Where a daemon keeps its state if nobody says: /var/lib/taskd/VERB for root, else $XDG_STATE_HOME/taskd/VERB, that is
 * ~/.local/state/taskd/VERB.  In the arena. */
const char *args_state_dir(const struct args *a, struct arena *in);

/* The end of a daemon: prints why on standard error, if there is a reason, and gives the exit status.  Consumes why. */
int args_end(const struct args *a, struct err *why);
#endif
