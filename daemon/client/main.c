/* main -- `taskd submit` in cluster mode and the verbs, wired to the network. */
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/file.h"
#include "client/client.h"
#include "client/line.h"
#include "common/identity.h"
#include "proto/proto.h"
#include "rpc/rpc.h"

enum { SUM_PIECE = 1 << 20 };
#define DIAL_NS UINT64_C(5000000000)

struct process {
    struct arena a;
    struct loop *loop;
    struct rpc *rpc;
    struct identity identity;
    struct module module;
    struct submit_options submit;
    struct client_blob *blobs;
    size_t n_blobs;
    struct module_info *libs;
    size_t n_libs;
    struct client *client;
    uint64_t dial_ns;
};

static struct err *
dial(void *arg, const char *address, struct link **ret)
{
    struct process *p = arg;
    struct rpc_dial_opts o = { .address = address, .tls = p->identity.tls, .timeout_ns = p->dial_ns };

    return rpc_dial(p->rpc, &o, ret);
}

static void
on_signal(void *arg, int signo)
{
    struct process *p = arg;

    if (p->client)
        client_signal(p->client, signo);
}

/* ---- what goes along */

static struct err *
sum(struct client_blob *b)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    char *piece = malloc(SUM_PIECE);
    struct err *e = NULL;
    size_t n = 1;

    if (!ctx || !piece || EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) != 1)
        abort();
    for (b->size = 0; !e && n; b->size += n) {
        e = file_pread(b->fd, piece, SUM_PIECE, b->size, &n, b->name);
        if (!e && EVP_DigestUpdate(ctx, piece, n) != 1)
            abort();
        n = e ? 0 : n;
    }
    if (EVP_DigestFinal_ex(ctx, b->sha256, NULL) != 1)
        abort();
    EVP_MD_CTX_free(ctx);
    free(piece);
    return e;
}

static struct err *
open_blobs(struct process *p)
{
    const struct submit_options *o = &p->submit;

    p->blobs = ARENA_ARRAY(&p->a, struct client_blob, o->n_files + 1);
    p->blobs[0] = (struct client_blob){ .use = TASKD__BLOB_USE__MODULE, .name = p->module.info.name, .fd = p->module.fd,
                                        .size = p->module.info.size };
    memcpy(p->blobs[0].sha256, p->module.sha256, sizeof p->blobs[0].sha256);
    p->n_blobs = 1;
    p->libs = ARENA_ARRAY(&p->a, struct module_info, o->n_files);
    for (size_t i = 0; i < o->n_files; i++) {
        struct client_blob *b = &p->blobs[p->n_blobs];

        b->use = (int)o->files[i].use;
        b->name = o->files[i].name;
        b->fd = open(o->files[i].path, O_RDONLY | O_CLOEXEC);
        if (b->fd < 0)
            return err_errno(errno, "opening \"%s\"", o->files[i].path);
        p->n_blobs++;
        TRY(sum(b));
        if (o->files[i].use == SUBMIT_LIBRARY)
            TRY(module_read_library(o->files[i].path, b->name, &p->a, &p->libs[p->n_libs++]));
    }
    return NULL;
}

/* Only what no worker can change is refused here; the rest is compared with each of them. */
static struct err *
open_module(struct process *p)
{
    struct module_list items;

    p->module.fd = -1;
    TRY(module_read(p->submit.module, &p->a, &p->module));
    return module_list(&p->module.info, &p->a, &items);
}

/* ---- run */

static struct err *
run(struct process *p, const struct conf *conf, const struct submit_master *master, struct client_opts *o)
{
    static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
    bool long_run = o->verb == CLIENT_SUBMIT || o->verb == CLIENT_WAIT || (o->verb == CLIENT_LOGS && o->follow);

    TRY(identity_load(conf, &p->a, &p->identity));
    TRY(loop_new(&p->loop));
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        TRY(loop_signal(p->loop, signals[i], on_signal, p));
    TRY(rpc_new(p->loop, &p->rpc));
    p->dial_ns = DIAL_NS / master->n_addresses;
    o->out = STDOUT_FILENO;
    o->err = STDERR_FILENO;
    o->conn.url = master->url;
    o->conn.addresses = master->addresses;
    o->conn.n_addresses = master->n_addresses;
    o->conn.token = p->identity.token;
    o->conn.token_n = p->identity.token_n;
    o->conn.patience_ns = long_run ? 0 : DIAL_NS;
    o->conn.dial = dial;
    o->conn.dial_arg = p;
    p->client = client_new(p->loop, o);
    return loop_run(p->loop);
}

static struct err *
submit(struct process *p, int argc, char **argv, char **envp)
{
    struct client_opts o = { .verb = CLIENT_SUBMIT };

    TRY(submit_options_parse(argc, argv, envp, &p->a, &p->submit));
    if (p->submit.action == SUBMIT_KILL || p->submit.action == SUBMIT_STATUS) {
        o.verb = p->submit.action == SUBMIT_KILL ? CLIENT_KILL : CLIENT_STATUS;
        o.id = p->submit.id;
        return run(p, p->submit.conf, &p->submit.master, &o);
    }
    if (p->submit.action != SUBMIT_RUN || !p->submit.cluster_mode)
        return err_hint(err_new(ERR_USAGE, "this program is for cluster mode only"), "Use taskd-submit.");
    if (p->submit.progress == SUBMIT_PROGRESS_AUTO && !p->submit.detach && isatty(STDERR_FILENO))
        p->submit.progress = SUBMIT_PROGRESS_LIVE;
    TRY(open_module(p));
    TRY(open_blobs(p));
    o.submit = &p->submit;
    o.module = &p->module.info;
    o.blobs = p->blobs;
    o.n_blobs = p->n_blobs;
    o.libs = p->libs;
    o.n_libs = p->n_libs;
    if (getrandom(o.key, sizeof o.key, 0) != sizeof o.key)
        return err_errno(errno, "making the submission's key");
    return run(p, p->submit.conf, &p->submit.master, &o);
}

static struct err *
ask(struct process *p, enum client_verb verb, int argc, char **argv, char **envp)
{
    struct client_opts o = { .verb = verb };
    struct client_line l;
    struct buf b = { 0 };
    struct err *e = NULL;

    TRY(client_line_parse(verb, argc, argv, envp, &p->a, &l));
    if (l.help) {
        client_line_help(verb, &b);
        e = file_write_full(STDOUT_FILENO, b.p, b.n, "standard output");
        buf_fini(&b);
        return e;
    }
    o.id = l.id;
    o.json = l.json;
    o.follow = l.follow;
    o.part = l.part;
    return run(p, l.conf, &l.master, &o);
}

/* What argv[0] says ("taskd list"); without that the first argument does. */
static int
verb_of(int *argc, char ***argv)
{
    const char *word = strncmp((*argv)[0], "taskd ", 6) ? "" : (*argv)[0] + 6;

    if (!*word && *argc > 1 && client_verb_of((*argv)[1]) >= 0) {
        word = (*argv)[1];
        (*argc)--;
        (*argv)++;
    }
    return client_verb_of(word);
}

int
client_main(int argc, char **argv, char **envp)
{
    struct process p = { .module = { .fd = -1 } };
    int verb = verb_of(&argc, &argv), status = 0;
    struct err *e;

    signal(SIGPIPE, SIG_IGN);
    e = verb < 0 ? submit(&p, argc, argv, envp) : ask(&p, (enum client_verb)verb, argc, argv, envp);
    if (e) {
        char *text = err_text(e);

        fprintf(stderr, "taskd: %s\n", text);
        status = err_code_exit(e->code);
        free(text);
        err_free(e);
    } else if (p.client) {
        status = client_status(p.client);
    }
    client_free(p.client);
    rpc_free(p.rpc);
    loop_free(p.loop);
    for (size_t i = 1; i < p.n_blobs; i++)
        file_close(&p.blobs[i].fd);
    module_fini(&p.module);
    arena_fini(&p.a);
    return status;
}
