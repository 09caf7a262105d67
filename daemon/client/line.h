/*
 * line -- the command lines of the verbs: taskd list|status|wait|logs|kill [options] [ID].
 *
 * Owner: what is parsed lives in the arena.  Threads: main.  Errors: ERR_USAGE for the form, ERR_CONFIG for a value.
 */
#ifndef CLIENT_LINE_H
#define CLIENT_LINE_H
#include "base/arena.h"
#include "client/client.h"

struct client_line {
    enum client_verb verb;
    bool help, json, follow;
    const char *id;
    struct client_part part; /* KILL */
    struct conf *conf; /* in the arena */
    struct submit_master master;
};
/* -1 for a word that is none of the verbs (submit is none). */
int client_verb_of(const char *word);
struct err *client_line_parse(enum client_verb verb, int argc, char **argv, char **envp, struct arena *a,
                              struct client_line *ret) MUST_USE;
void client_line_help(enum client_verb verb, struct buf *out);
#endif
