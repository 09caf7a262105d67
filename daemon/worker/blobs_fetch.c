/* blobs_fetch -- one blob from its source into DIR/<hex>.part, in pieces, a window of them under way. */
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"
#include "worker/blobs_priv.h"
#include "worker/hand.h"

/* Pieces arrive in any order, so the file's last WINDOW pieces may have holes: a restart begins before them. */
#ifdef TASKD_HOSTILE
enum { PIECE = 512, WINDOW = 2 };
#else
enum { PIECE = 4 << 20, WINDOW = 4 };
#endif
enum { HASH_BYTES = 256 << 10 };

void
blobs__hash(void *blob)
{
    struct blob *x = blob;
    struct blob_hash *h = &x->hash;
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    char *p = malloc(HASH_BYTES);
    uint64_t at = 0;
    size_t n = 1;

    if (!md || !p || !EVP_DigestInit_ex(md, EVP_sha256(), NULL))
        abort();
    while (n && !h->errnum) {
        struct err *e = file_pread(h->fd, p, HASH_BYTES, at, &n, x->hex);

        if (e)
            h->errnum = EIO;
        else
            EVP_DigestUpdate(md, p, n);
        err_free(e);
        at += n;
    }
    EVP_DigestFinal_ex(md, h->got, NULL);
    EVP_MD_CTX_free(md);
    free(p);
    if (h->sync && !h->errnum && fsync(h->fd) < 0)
        h->errnum = errno;
}

void
blobs__fetch_drop(struct blob *x)
{
    if (x->client) {
        bulk_client_free(x->client);
        x->client = NULL;
        file_close(&x->part);
    }
    free(x->from);
    x->from = NULL;
    err_free(x->why);
    x->why = NULL;
    x->under_way = 0;
}

/* Takes e; leaves the part, so that another source or time can go on with it. */
static void
give_up(struct blob *x, struct err *e)
{
    struct blob_waiter *w = x->waiters;

    e = err_wrap_take(e, "fetching \"%s\" from %s", w ? w->name : x->hex, x->from);
    blobs__fetch_drop(x);
    blobs__failed(x->blobs, x, e);
}

/* ---- at the end */

static struct err *
other_bytes(const struct blob *x)
{
    char hex[BLOBS_HEX];

    blobs_hex(x->hash.got, hex);
    return err_hint(err_new(ERR_CORRUPT, "its bytes are not what was announced: their SHA-256 is %s, not %s", hex, x->hex),
                    "Did the file change after it was submitted?");
}

static struct err *
put_in_place(struct blob *x)
{
    char *part = blobs__path(x->blobs, x, true), *path = blobs__path(x->blobs, x, false);
    struct err *e = NULL;
    int dir = open(x->blobs->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fchmod(x->part, 0400) < 0 || rename(part, path) < 0)
        e = err_errno(errno, "renaming \"%s\"", part);
    else if (dir < 0 || fsync(dir) < 0)
        e = err_errno(errno, "syncing \"%s\"", x->blobs->dir);
    if (!e)
        fstat(x->part, &x->verified);
    file_close(&dir);
    free(part);
    free(path);
    return e;
}

static void
on_hashed(void *arg)
{
    struct blob *x = arg;
    struct err *e = NULL;

    x->hand = NULL;
    if (x->hash.errnum) {
        give_up(x, err_errno(x->hash.errnum, "reading it back"));
        return;
    }
    if (memcmp(x->hash.got, x->sha256, BLOBS_SHA256)) {
        bool again = x->again;

        if (ftruncate(x->part, 0) < 0)
            e = err_errno(errno, "emptying it");
        if (e || again) {
            give_up(x, e ? e : other_bytes(x));
        } else {
            x->again = true;
            blobs__fetch_drop(x);
            blobs__fetch(x->blobs, x);
        }
        return;
    }
    if ((e = put_in_place(x))) {
        give_up(x, e);
        return;
    }
    blobs__fetch_drop(x);
    blobs__there(x->blobs, x);
}

/* Nothing is under way any more; not in a call of the client, which is freed here. */
static void
on_end(void *arg)
{
    struct blob *x = arg;
    struct err *e = x->why;

    x->why = NULL;
    if (!x->waiters && !e)
        e = err_new(ERR_CANCELLED, "nobody waits for it");
    if (e) {
        give_up(x, e);
        return;
    }
    x->hash = (struct blob_hash){ .fd = x->part, .sync = true };
    x->hand = hand_start(x->blobs->loop, blobs__hash, on_hashed, x);
}

/* ---- pieces */

static void on_piece(void *arg, struct err *e, uint64_t got, uint64_t size);

static void
ask(struct blob *x)
{
    while (x->client && !x->why && x->waiters && x->next < x->size && x->under_way < WINDOW) {
        uint64_t n = x->size - x->next < PIECE ? x->size - x->next : PIECE;
        struct bulk_get g = { .host = x->from, .name = x->hex, .offset = x->next, .length = n, .fd = x->part,
                              .at = x->next, .done = on_piece, .arg = x };

        x->next += n;
        x->under_way++;
        bulk_get(x->client, &g);
    }
    if (!x->under_way)
        loop_timer_start(x->blobs->loop, &x->timer, 0, on_end, x);
}

static void
on_piece(void *arg, struct err *e, uint64_t got, uint64_t size)
{
    struct blob *x = arg;

    x->under_way--;
    x->blobs->fetched += got;
    if (!e && size != x->size)
        e = err_new(ERR_CORRUPT, "it has %llu bytes there, not %llu", (unsigned long long)size, (unsigned long long)x->size);
    if (x->why)
        err_free(e);
    else
        x->why = e;
    ask(x);
}

static uint64_t
resume_at(int fd, uint64_t size)
{
    struct stat st;
    uint64_t window = (uint64_t)PIECE * WINDOW, have;

    if (fstat(fd, &st) < 0)
        return 0;
    have = (uint64_t)st.st_size < size ? (uint64_t)st.st_size : size;
    return have > window ? (have - window) / PIECE * PIECE : 0;
}

static struct err *
begin(struct blobs *b, struct blob *x)
{
    struct blob_waiter *w = x->waiters;
    struct bulk_client_opts o = { .tls = b->tls, .app = w->app };
    char *path;

    if (!w->host[0])
        return err_new(ERR_LOST, "nobody serves it");
    path = blobs__path(b, x, true);
    x->part = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    int no = errno;
    free(path);
    if (x->part < 0)
        return err_errno(no, "making \"%s.part\"", x->hex);
    memcpy(o.secret, w->secret, BULK_SECRET);
    struct err *e = bulk_client_new(b->loop, &o, &x->client);
    explicit_bzero(o.secret, sizeof o.secret);
    if (e)
        file_close(&x->part);
    return e;
}

void
blobs__fetch(struct blobs *b, struct blob *x)
{
    struct blob_waiter *w = x->waiters;

    x->state = BLOB_FETCHING;
    x->under_way = 0;
    x->from = strdup(w && w->host[0] ? w->host : "nobody");
    if (!x->from)
        abort();
    if (w)
        x->why = begin(b, x);
    if (w && !x->why)
        x->next = resume_at(x->part, x->size);
    ask(x); /* after an error: on_end() */
}
