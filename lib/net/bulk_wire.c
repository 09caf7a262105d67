/* bulk_wire -- see bulk_wire.h */
#include "net/bulk_wire.h"

enum {
    MAGIC_HELLO = 0x53424454,   /* "TDBS" */
    MAGIC_AUTH = 0x43424454,    /* "TDBC" */
    MAGIC_VERDICT = 0x56424454, /* "TDBV" */
    MAGIC_REQUEST = 0x51424454, /* "TDBQ" */
    MAGIC_ANSWER = 0x41424454,  /* "TDBA" */
};

void
bulk__put_hello(struct buf *b, const struct bulk_hello *h)
{
    put_u32(b, MAGIC_HELLO);
    put_u32(b, h->version);
    buf_put(b, h->nonce, sizeof h->nonce);
}

void
bulk__put_auth(struct buf *b, const struct bulk_auth *a)
{
    size_t n = strlen(a->app);

    put_u32(b, MAGIC_AUTH);
    put_u32(b, a->version);
    put_u32(b, (uint32_t)n);
    buf_put(b, a->nonce, sizeof a->nonce);
    buf_put(b, a->mac, sizeof a->mac);
    buf_put(b, a->app, n);
}

void
bulk__put_verdict(struct buf *b, const struct bulk_verdict *v)
{
    put_u32(b, MAGIC_VERDICT);
    put_u32(b, v->status);
    buf_put(b, v->mac, sizeof v->mac);
}

void
bulk__put_request(struct buf *b, uint64_t id, const char *name, uint64_t offset, uint64_t length)
{
    size_t n = strlen(name);

    ASSERT(n > 0 && n <= BULK_NAME_MAX);
    put_u32(b, MAGIC_REQUEST);
    put_u32(b, (uint32_t)n); /* u16 and a u16 of zero */
    put_u64(b, id);
    put_u64(b, offset);
    put_u64(b, length);
    buf_put(b, name, n);
}

void
bulk__put_answer(struct buf *b, const struct bulk_answer *a)
{
    put_u32(b, MAGIC_ANSWER);
    put_u32(b, a->status);
    put_u64(b, a->id);
    put_u64(b, a->size);
    put_u64(b, a->offset);
    put_u64(b, a->length);
}

/* The first bytes of a message: wrong ones are found before all of them are there. */
static enum bulk_parse
begins(const void *p, size_t n, uint32_t magic, size_t head)
{
    unsigned char want[4] = { magic & 255, magic >> 8 & 255, magic >> 16 & 255, magic >> 24 };

    if (n && memcmp(p, want, n < sizeof want ? n : sizeof want) != 0)
        return BULK_BAD;
    return n < head ? BULK_MORE : BULK_WHOLE;
}

static void
get_raw(struct get *g, void *to, size_t n)
{
    memcpy(to, g->p, n); /* the caller knows that they are there */
    g->p += n;
}

enum bulk_parse
bulk__get_hello(const void *p, size_t n, struct bulk_hello *ret, size_t *ret_used)
{
    enum bulk_parse s = begins(p, n, MAGIC_HELLO, BULK_HELLO_BYTES);

    if (s != BULK_WHOLE)
        return s;
    struct get g = GET_OF((const char *)p + 4, n - 4);
    ret->version = get_u32(&g);
    get_raw(&g, ret->nonce, sizeof ret->nonce);
    *ret_used = BULK_HELLO_BYTES;
    return BULK_WHOLE;
}

enum bulk_parse
bulk__get_auth(const void *p, size_t n, struct bulk_auth *ret, size_t *ret_used)
{
    enum bulk_parse s = begins(p, n, MAGIC_AUTH, 12);

    if (s != BULK_WHOLE)
        return s;
    struct get g = GET_OF((const char *)p + 4, n - 4);
    ret->version = get_u32(&g);
    uint32_t app_n = get_u32(&g);
    if (app_n == 0 || app_n > BULK_APP_MAX)
        return BULK_BAD;
    if (n < BULK_AUTH_HEAD + (size_t)app_n)
        return BULK_MORE;
    get_raw(&g, ret->nonce, sizeof ret->nonce);
    get_raw(&g, ret->mac, sizeof ret->mac);
    get_raw(&g, ret->app, app_n);
    ret->app[app_n] = 0;
    *ret_used = BULK_AUTH_HEAD + app_n;
    return memchr(ret->app, 0, app_n) ? BULK_BAD : BULK_WHOLE;
}

enum bulk_parse
bulk__get_verdict(const void *p, size_t n, struct bulk_verdict *ret, size_t *ret_used)
{
    enum bulk_parse s = begins(p, n, MAGIC_VERDICT, BULK_VERDICT_BYTES);

    if (s != BULK_WHOLE)
        return s;
    struct get g = GET_OF((const char *)p + 4, n - 4);
    ret->status = get_u32(&g);
    get_raw(&g, ret->mac, sizeof ret->mac);
    *ret_used = BULK_VERDICT_BYTES;
    return ret->status < BULK_STATUSES ? BULK_WHOLE : BULK_BAD;
}

enum bulk_parse
bulk__get_request(const void *p, size_t n, struct bulk_request *ret, size_t *ret_used)
{
    enum bulk_parse s = begins(p, n, MAGIC_REQUEST, BULK_REQUEST_HEAD);

    if (s != BULK_WHOLE)
        return s;
    struct get g = GET_OF((const char *)p + 4, n - 4);
    uint32_t name_n = get_u32(&g); /* the upper half must be zero, so it is too large if it is not */
    ret->id = get_u64(&g);
    ret->offset = get_u64(&g);
    ret->length = get_u64(&g);
    if (name_n == 0 || name_n > BULK_NAME_MAX)
        return BULK_BAD;
    if (n < BULK_REQUEST_HEAD + (size_t)name_n)
        return BULK_MORE;
    get_raw(&g, ret->name, name_n);
    ret->name[name_n] = 0;
    *ret_used = BULK_REQUEST_HEAD + name_n;
    return memchr(ret->name, 0, name_n) ? BULK_BAD : BULK_WHOLE;
}

enum bulk_parse
bulk__get_answer(const void *p, size_t n, struct bulk_answer *ret, size_t *ret_used)
{
    enum bulk_parse s = begins(p, n, MAGIC_ANSWER, BULK_ANSWER_HEAD);

    if (s != BULK_WHOLE)
        return s;
    struct get g = GET_OF((const char *)p + 4, n - 4);
    ret->status = get_u32(&g);
    ret->id = get_u64(&g);
    ret->size = get_u64(&g);
    ret->offset = get_u64(&g);
    ret->length = get_u64(&g);
    *ret_used = BULK_ANSWER_HEAD;
    if (ret->status == BULK_OK)
        return ret->size <= INT64_MAX && ret->offset <= ret->size && ret->length <= ret->size - ret->offset ? BULK_WHOLE
                                                                                                            : BULK_BAD;
    return ret->status < BULK_STATUSES && !ret->size && !ret->offset && !ret->length ? BULK_WHOLE : BULK_BAD;
}

void
bulk__clip(uint64_t size, uint64_t *offset, uint64_t *length)
{
    if (*offset == BULK_TAIL) {
        *length = *length < size ? *length : size;
        *offset = size - *length;
        return;
    }
    *offset = *offset < size ? *offset : size;
    *length = *length < size - *offset ? *length : size - *offset;
}
