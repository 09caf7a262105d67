/* put -- a submission: workers looked at, blobs put, the driver asked for.
 *
 * Blobs are named by their content, so a master that has one needs nothing, and what was begun (by this client before the
 * link broke, or by another one) goes on where it ended.  So does the whole submission: it has a key. */
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "client/client_priv.h"
#include "common/profile.h"
#include "submit/spec.h"

static void
blob_message(const struct client_blob *b, Taskd__Blob *ret)
{
    *ret = (Taskd__Blob)TASKD__BLOB__INIT;
    ret->sha256 = PROTO_BYTES(b->sha256, sizeof b->sha256);
    ret->size = b->size;
    ret->name = (char *)b->name;
}

static void
send_piece(struct client *c, const struct client_blob *b, uint64_t at, const void *p, size_t n)
{
    Taskd__Item item = TASKD__ITEM__INIT;
    Taskd__BlobPut put = TASKD__BLOB_PUT__INIT;
    Taskd__Blob blob;

    blob_message(b, &blob);
    put.blob = &blob;
    put.at = at;
    put.data = PROTO_BYTES(p, n);
    item.kind_case = TASKD__ITEM__KIND_BLOB_PUT;
    item.blob_put = &put;
    client__send(c, &item);
}

static void
ask_driver(struct client *c)
{
    Taskd__Item item = TASKD__ITEM__INIT;
    Taskd__SubmitDriver d;
    struct arena a = { 0 };
    size_t n = c->o.n_blobs;
    Taskd__AppBlob *blobs = ARENA_ARRAY(&a, Taskd__AppBlob, n);
    Taskd__Blob *names = ARENA_ARRAY(&a, Taskd__Blob, n);

    submit_spec_put(c->o.submit, &a, &d);
    d.blob = ARENA_ARRAY(&a, Taskd__AppBlob *, n + 1);
    for (size_t i = 0; i < n; i++) {
        blobs[i] = (Taskd__AppBlob)TASKD__APP_BLOB__INIT;
        blobs[i].use = (Taskd__BlobUse)c->o.blobs[i].use;
        blobs[i].blob = &names[i];
        blob_message(&c->o.blobs[i], &names[i]);
        d.blob[d.n_blob++] = &blobs[i];
    }
    d.key = PROTO_BYTES(c->o.key, sizeof c->o.key);
    d.again = c->asked;
    item.kind_case = TASKD__ITEM__KIND_SUBMIT_DRIVER;
    item.submit_driver = &d;
    client__send(c, &item);
    c->phase = PUT_ASKED;
    c->asked = true;
    arena_fini(&a);
}

/* As many pieces of the blob as may be unanswered. */
static void
send_pieces(struct client *c, const struct client_blob *b, struct put_blob *p)
{
    static char piece[CLIENT_PIECE];

    while (p->flying < CLIENT_PIECES && p->sent < b->size && !c->over) {
        size_t n = b->size - p->sent < CLIENT_PIECE ? (size_t)(b->size - p->sent) : CLIENT_PIECE;
        struct err *e = file_pread_full(b->fd, piece, n, p->sent, b->name);

        if (e) {
            client__fail(c, e);
            return;
        }
        send_piece(c, b, p->sent, piece, n);
        p->sent += n;
        p->flying++;
    }
}

static void
go_on(struct client *c)
{
    while (c->at < c->o.n_blobs && c->put[c->at].whole)
        c->at++;
    if (c->at == c->o.n_blobs) {
        ask_driver(c);
        return;
    }
    const struct client_blob *b = &c->o.blobs[c->at];
    struct put_blob *p = &c->put[c->at];

    if (!p->asked) {
        p->asked = true;
        p->flying = 1;
        send_piece(c, b, 0, NULL, 0);
    } else {
        send_pieces(c, b, p);
    }
}

/* What was known of the last connection is forgotten. */
void
client__put_up(struct client *c)
{
    Taskd__Item item = TASKD__ITEM__INIT;
    Taskd__StatusRequest ask = TASKD__STATUS_REQUEST__INIT;

    free(c->put);
    c->put = calloc(c->o.n_blobs + 1, sizeof *c->put);
    if (!c->put)
        abort();
    c->at = 0;
    c->phase = PUT_LOOK;
    profile_need(&c->a, c->o.module, c->o.libs, c->o.n_libs, &ask.need_library, &ask.n_need_library);
    ask.workers = true;
    item.kind_case = TASKD__ITEM__KIND_STATUS_REQUEST;
    item.status_request = &ask;
    client__send(c, &item);
}

static void
on_blob_state(struct client *c, const Taskd__BlobState *s)
{
    struct put_blob *p = &c->put[c->at];
    const struct client_blob *b = &c->o.blobs[c->at];

    if (c->phase != PUT_BLOBS || s->sha256.len != sizeof b->sha256 || memcmp(s->sha256.data, b->sha256, sizeof b->sha256))
        return; /* an answer about another one */
    p->flying -= p->flying > 0;
    p->have = s->have;
    p->whole = s->whole;
    if (!p->whole && p->have > b->size) {
        client__fail(c, err_new(ERR_CORRUPT, "the master says that it has %llu bytes of %s, which has %llu",
                                (unsigned long long)p->have, b->name, (unsigned long long)b->size));
        return;
    }
    if (p->flying == 0 && p->sent != p->have && !p->whole)
        p->sent = p->have; /* begun before, or something was left out */
    if (p->flying == 0 && p->sent == b->size && !p->whole) {
        client__fail(c, err_hint(err_new(ERR_CORRUPT, "the master has all bytes of %s, and they are not those that were "
                                                      "announced", b->name),
                                 "Was the file written to meanwhile?"));
        return;
    }
    go_on(c);
}

static void
on_submitted(struct client *c, const Taskd__Submitted *s)
{
    c->phase = PUT_DONE;
    c->id = arena_strdup(&c->a, s->driver);
    if (c->o.submit->detach) {
        char *line = arena_printf(&c->a, "%s\n", c->id);

        client__write(c, c->o.out, line, strlen(line));
        client__over(c, c->status);
        return;
    }
    client__say(c, EVENT_LEVEL_INFO, "submitted as %s", c->id);
    if (c->killing)
        client__ask_kill(c);
    c->tries = 1;
    client__follow(c, true);
}

void
client__put_item(struct client *c, const Taskd__Item *item)
{
    struct err *e = NULL;

    switch (item->kind_case) {
    case TASKD__ITEM__KIND_STATUS:
        if (c->phase != PUT_LOOK)
            break;
        e = profile_check_workers(c->o.module, item->status, c->o.libs, c->o.n_libs);
        c->phase = PUT_BLOBS;
        if (!e)
            go_on(c);
        break;
    case TASKD__ITEM__KIND_BLOB_STATE:
        on_blob_state(c, item->blob_state);
        break;
    case TASKD__ITEM__KIND_SUBMITTED:
        if (c->phase == PUT_ASKED)
            on_submitted(c, item->submitted);
        break;
    case TASKD__ITEM__KIND_ANSWER:
        e = proto_err(item->answer->error);
        break;
    default:
        break;
    }
    if (e)
        client__fail(c, e);
}
