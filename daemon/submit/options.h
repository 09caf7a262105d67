/*
 * options -- the command line of taskd-submit: one table (options.def), its parser and its help.
 *
 *   taskd-submit [options] job.so [arguments of the job]
 *   taskd-submit --master taskd://HOST:PORT --kill ID | --status ID
 *
 * Options come before job.so; everything behind it is the job's, dashes and all.  "--name VALUE" and
 * "--name=VALUE" mean the same; "--" ends the options.
 *
 * Owner: what is parsed lives in the arena (the conf, too).  Threads: main, once.
 * Errors: ERR_USAGE (exit 2) for the command line's form, ERR_CONFIG (exit 3) for a value.
 */
#ifndef SUBMIT_OPTIONS_H
#define SUBMIT_OPTIONS_H
#include <stdbool.h>

#include "base/arena.h"
#include "base/buf.h"
#include "conf/conf.h"

enum submit_action { SUBMIT_RUN, SUBMIT_HELP, SUBMIT_VERSION, SUBMIT_KILL, SUBMIT_STATUS };
enum submit_progress {
    SUBMIT_PROGRESS_AUTO,
    SUBMIT_PROGRESS_PLAIN,
    SUBMIT_PROGRESS_JSON,
    SUBMIT_PROGRESS_NONE,
    SUBMIT_PROGRESS_LIVE, /* no word of the option: what auto means to a driver elsewhere, when the terminal is here */
};

/* What the text of --master asks for. */
enum submit_kind { SUBMIT_LOCAL, SUBMIT_LOCAL_CLUSTER, SUBMIT_STANDALONE };
struct submit_master {
    enum submit_kind kind;
    unsigned slots;          /* LOCAL: runners */
    unsigned workers, cores; /* LOCAL_CLUSTER: cores of each worker */
    uint64_t memory;         /* LOCAL_CLUSTER: bytes of each worker */
    const char **addresses;  /* STANDALONE: "host:port" of each, for rpc_dial(), NULL-terminated */
    size_t n_addresses;
    const char *url;         /* STANDALONE: "taskd://host:port,host2:port", all ports there; else the text */
};

/* What goes along with the module; the order is that of loading. */
enum submit_use { SUBMIT_LIBRARY = 1, SUBMIT_FILE, SUBMIT_ARCHIVE }; /* numbers of BlobUse in control.proto */
struct submit_file {
    enum submit_use use;
    const char *path; /* a regular file when it was looked at */
    const char *name; /* what the job finds it as: no slashes, no two alike */
};

struct submit_options {
    enum submit_action action; /* after HELP and VERSION nothing else is set; after KILL and STATUS no module */
    struct conf *conf;         /* all layers but the program's */
    struct submit_master master;
    bool cluster_mode;         /* --deploy-mode cluster; only with STANDALONE */
    bool detach;
    const char *id;            /* of KILL and STATUS */
    struct submit_file *files;
    size_t n_files;
    const char *app_name;      /* taskd.app.name, or the module's file name without .so */
    unsigned slots;            /* master.slots */
    const char *module;        /* the path as it was given */
    char **args;               /* the job's arguments, NULL-terminated; args[0] is the module */
    int n_args;                /* args[0] counts */
    enum submit_progress progress;
    const char *summary; /* path or NULL */
    bool verbose, dry_run;
};

/* argv, envp as main gets them. */
struct err *submit_options_parse(int argc, char **argv, char **envp, struct arena *a, struct submit_options *ret)
    MUST_USE;
/* The text of --help. */
void submit_options_help(struct buf *out);
/* doc/options.md. */
void submit_options_markdown(struct buf *out);
/* cpus is what [*] stands for.  ERR_CONFIG for a text that is no master or one that is not built yet. */
struct err *submit_master_parse(const char *master, unsigned cpus, struct arena *a, struct submit_master *ret) MUST_USE;
#endif
