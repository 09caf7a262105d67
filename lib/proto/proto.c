/* proto -- see proto.h */
#include "proto/proto_priv.h"

#include <string.h>
#include <unistd.h>

#include "taskd.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

void
proto_put(struct buf *b, const Taskd__Item *item)
{
    size_t n = protobuf_c_message_get_packed_size(&item->base);
    uint64_t left = n;

    put_u8(b, 0x0a); /* field 1, length-delimited */
    for (; left >= 0x80; left >>= 7)
        put_u8(b, (uint8_t)(left | 0x80));
    put_u8(b, (uint8_t)left);
    b->n += protobuf_c_message_pack(&item->base, (uint8_t *)buf_room(b, n));
}

/* ---- unpacking */

struct allowance {
    struct arena *a;
    size_t left;
    bool over;
};

static void *
take(void *arg, size_t n)
{
    struct allowance *w = arg;

    if (n > w->left) {
        w->over = true;
        return NULL;
    }
    w->left -= n;
    return arena_alloc(w->a, n);
}

static void
give_back(void *arg, void *p)
{
    (void)arg; /* the arena's */
    (void)p;
}

static size_t
allowed(size_t n)
{
    size_t first = n < PROTO_BATCH ? n : PROTO_BATCH;

    return PROTO_SMALL + first * PROTO_GROWTH + (n - first) * PROTO_GROWTH_BIG;
}

static struct err *
unpack(const ProtobufCMessageDescriptor *d, const void *p, size_t n, struct arena *a,
       ProtobufCMessage **ret)
{
    struct allowance w = { a, allowed(n), false };
    ProtobufCAllocator al = { take, give_back, &w };
    ProtobufCMessage *m;

    if (!proto__fits(d, p, n))
        return err_new(ERR_CORRUPT, "%zu bytes that came as a message are none", n);
    m = protobuf_c_message_unpack(d, &al, n, p);

    if (!m && w.over)
        return err_new(ERR_LIMIT, "a message of %zu bytes unpacks to more than %zu", n, allowed(n));
    if (!m)
        return err_new(ERR_CORRUPT, "%zu bytes that came as a message are none", n);
    *ret = m;
    return NULL;
}

struct err *
proto_get(const void *p, size_t n, struct arena *a, Taskd__Envelope **ret)
{
    ProtobufCMessage *m = NULL;

    TRY(unpack(&taskd__envelope__descriptor, p, n, a, &m));
    *ret = (Taskd__Envelope *)m;
    return NULL;
}

/* ---- what a child gets by descriptor */

static void
put_bare(struct buf *b, const ProtobufCMessage *m)
{
    b->n += protobuf_c_message_pack(m, (uint8_t *)buf_room(b, protobuf_c_message_get_packed_size(m)));
}

void
proto_put_executor_spec(struct buf *b, const Taskd__ExecutorSpec *s)
{
    put_bare(b, &s->base);
}

void
proto_put_driver_spec(struct buf *b, const Taskd__DriverSpec *s)
{
    put_bare(b, &s->base);
}

struct err *
proto_get_executor_spec(const void *p, size_t n, struct arena *a, Taskd__ExecutorSpec **ret)
{
    ProtobufCMessage *m = NULL;

    TRY(unpack(&taskd__executor_spec__descriptor, p, n, a, &m));
    *ret = (Taskd__ExecutorSpec *)m;
    return NULL;
}

struct err *
proto_get_driver_spec(const void *p, size_t n, struct arena *a, Taskd__DriverSpec **ret)
{
    ProtobufCMessage *m = NULL;

    TRY(unpack(&taskd__driver_spec__descriptor, p, n, a, &m));
    *ret = (Taskd__DriverSpec *)m;
    return NULL;
}

/* ---- errors */

void
proto_of_err(const struct err *e, struct arena *a, Taskd__Error *ret)
{
    size_t n = 0;

    *ret = (Taskd__Error)TASKD__ERROR__INIT;
    for (const struct err *x = e; x; x = x->cause)
        n++;
    if (!n)
        return;
    ret->say = ARENA_ARRAY(a, char *, n);
    ret->code = (char *)err_code_name(e->code);
    for (const struct err *x = e; x; x = x->cause) {
        ret->say[ret->n_say++] = x->msg;
        if (x->hint && !ret->hint[0])
            ret->hint = x->hint;
    }
}

struct err *
proto_err(const Taskd__Error *m)
{
    struct err *e = NULL;

    if (!m || !m->code[0])
        return NULL;
    enum err_code code = err_code_of(m->code);
    if (code == ERR_NONE)
        code = ERR_CORRUPT;
    for (size_t i = m->n_say; i-- > 0;)
        e = e ? err_wrap_take(e, "%s", m->say[i]) : err_new(code, "%s", m->say[i]);
    if (!e)
        e = err_new(code, "the other side did not say why");
    return m->hint[0] ? err_hint(e, "%s", m->hint) : e;
}

/* ---- hello */

uint64_t
proto_app(const char *app_id)
{
    return XXH3_64bits(app_id, strlen(app_id));
}

void
proto_hello(Taskd__Hello *ret, const char *role, const char *host)
{
    *ret = (Taskd__Hello)TASKD__HELLO__INIT;
    ret->protocol = PROTO_VERSION;
    ret->abi_major = TD_ABI_MAJOR;
    ret->abi_minor = TD_ABI_MINOR;
    ret->version = (char *)PACKAGE_VERSION;
    ret->role = (char *)role;
    ret->host = (char *)host;
    ret->pid = (uint64_t)getpid();
}

struct err *
proto_check_hello(const Taskd__Hello *h, const char *role)
{
    if (h->protocol != PROTO_VERSION)
        return err_hint(err_new(ERR_ABI, "%s on \"%s\" is taskd %s and speaks protocol %u, this side is taskd %s and speaks %d",
                                h->role, h->host, h->version, h->protocol, PACKAGE_VERSION, PROTO_VERSION),
                        "Install the same version of taskd on all hosts.");
    if (h->abi_major != TD_ABI_MAJOR || h->abi_minor != TD_ABI_MINOR)
        return err_hint(err_new(ERR_ABI, "%s on \"%s\" runs modules of ABI %u.%u, this side of %d.%d", h->role, h->host,
                                h->abi_major, h->abi_minor, TD_ABI_MAJOR, TD_ABI_MINOR),
                        "Install the same version of taskd on all hosts.");
    if (role && strcmp(h->role, role))
        return err_new(ERR_DENIED, "\"%s\" on \"%s\" called where only a %s may call", h->role, h->host, role);
    return NULL;
}
