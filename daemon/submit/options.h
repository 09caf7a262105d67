/*
 * options -- the command line of taskd-submit: one table (options.def), its parser and its help.
 *
 *   taskd-submit [options] job.so [arguments of the job]
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

enum submit_action { SUBMIT_RUN, SUBMIT_HELP, SUBMIT_VERSION };
enum submit_progress { SUBMIT_PROGRESS_AUTO, SUBMIT_PROGRESS_PLAIN, SUBMIT_PROGRESS_JSON, SUBMIT_PROGRESS_NONE };

struct submit_options {
    enum submit_action action; /* unless SUBMIT_RUN, nothing else is set */
    struct conf *conf;         /* all layers but the program's */
    const char *app_name;      /* taskd.app.name, or the module's file name without .so */
    unsigned slots;            /* runners of local, local[N] or local[*] */
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
/* Runners that a master string asks for; cpus is what [*] stands for.  ERR_CONFIG for one that is none or
 * not built yet. */
struct err *submit_master_slots(const char *master, unsigned cpus, unsigned *ret_slots) MUST_USE;
#endif
