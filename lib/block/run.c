/* run -- the footer of a file of blocks. */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/file.h"
#include "block/block_priv.h"

enum { ENTRY_MIN = 20, ENTRY_MAX = 20 + 1 + BLOCK_FIRST_MAX };

struct block_run {
    unsigned refs;
    bool own_fd;
    int fd;
    char *name;
    const struct block_codec *const *codecs;
    struct block_schema schema;
    bool first_keys;
    struct block_run_info info;
    struct block_entry *entry;
    char *footer; /* first keys point into it */
    size_t footer_bytes;
    bool (*again)(void *arg, uint64_t offset, uint32_t bytes, unsigned nth);
    void *again_arg;
};

static struct err *
bad_run(const struct block_run *r, const char *fmt, ...) PRINTF_LIKE(2, 3);

static struct err *
bad_run(const struct block_run *r, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    struct err *e = err_newv(ERR_CORRUPT, fmt, ap);
    va_end(ap);
    return err_wrap_take(e, "\"%s\" is not a whole file of blocks", r->name);
}

static struct err *
check_trailer(struct block_run *r, const struct block__trailer *t, uint64_t size)
{
    r->schema = (struct block_schema){ t->key, t->val };
    if (t->magic != BLOCK__RUN_MAGIC)
        return bad_run(r, "its last %zu bytes are not a trailer", sizeof *t);
    if (t->version != BLOCK__VERSION)
        return bad_run(r, "it has version %u, this program reads version %d", t->version, BLOCK__VERSION);
    if (!block_schema_valid(r->schema) || (t->flags & ~BLOCK__FIRST_KEYS) || t->zero)
        return bad_run(r, "its trailer names the unknown kinds %u and %u or flags 0x%x", t->key, t->val,
                       t->flags);
    if (t->file_bytes != size)
        return bad_run(r, "it has %llu bytes, its trailer says %llu", (unsigned long long)size,
                       (unsigned long long)t->file_bytes);
    if (t->footer_bytes > size - sizeof *t || t->blocks > size / sizeof(struct block__header)
        || t->footer_bytes < (uint64_t)t->blocks * ENTRY_MIN
        || t->footer_bytes > (uint64_t)t->blocks * ENTRY_MAX)
        return bad_run(r, "its footer can't have %llu bytes for %u blocks",
                       (unsigned long long)t->footer_bytes, t->blocks);
    r->first_keys = t->flags & BLOCK__FIRST_KEYS;
    r->footer_bytes = t->footer_bytes;
    r->info = (struct block_run_info){ .rows = t->rows, .raw_bytes = t->raw_bytes, .file_bytes = size,
                                       .digest = t->digest, .blocks = t->blocks };
    return NULL;
}

static bool
get_first(struct block_run *r, struct get *g, struct block_entry *e)
{
    e->first_n = get_u8(g);
    if (g->bad || (size_t)(g->end - g->p) < e->first_n)
        return false;
    e->first = g->p;
    g->p += e->first_n;
    return r->schema.key == BLOCK_STR ? e->first_n <= BLOCK_FIRST_MAX : e->first_n == 8;
}

static struct err *
parse_footer(struct block_run *r)
{
    struct get g = GET_OF(r->footer, r->footer_bytes);
    uint64_t offset = 0, rows = 0, raw = 0;
    uint32_t partition = 0;

    for (uint32_t i = 0; i < r->info.blocks; i++) {
        struct block_entry *e = &r->entry[i];

        *e = (struct block_entry){ .offset = offset, .bytes = get_u32(&g), .raw_bytes = get_u32(&g),
                                   .rows = get_u32(&g), .partition = get_u32(&g), .sum = get_u32(&g) };
        if ((r->first_keys && !get_first(r, &g, e)) || g.bad || e->bytes < sizeof(struct block__header)
            || e->rows == 0 || e->rows > BLOCK_ROWS_MAX || e->raw_bytes > BLOCK_RAW_MAX + 64u
            || e->partition < partition)
            return bad_run(r, "entry %u of its footer can't be", i);
        offset += e->bytes;
        rows += e->rows;
        raw += e->raw_bytes;
        partition = e->partition;
    }
    if (g.p != g.end || rows != r->info.rows || raw != r->info.raw_bytes
        || offset + r->footer_bytes + sizeof(struct block__trailer) != r->info.file_bytes)
        return bad_run(r, "its footer and its trailer don't agree");
    return NULL;
}

static struct err *
read_footer(struct block_run *r)
{
    struct block__trailer t;
    struct stat st;

    if (fstat(r->fd, &st) < 0)
        return err_errno(errno, "looking at \"%s\"", r->name);
    uint64_t size = (uint64_t)st.st_size;
    if (!S_ISREG(st.st_mode) || size < sizeof t)
        return bad_run(r, "it has %llu bytes", (unsigned long long)size);
    TRY(file_pread_full(r->fd, &t, sizeof t, size - sizeof t, r->name));
    TRY(check_trailer(r, &t, size));
    r->footer = malloc(r->footer_bytes + 1);
    r->entry = calloc((size_t)r->info.blocks + 1, sizeof *r->entry);
    if (!r->footer || !r->entry)
        return err_new(ERR_LIMIT, "no memory for the footer of \"%s\" (%u blocks)", r->name, r->info.blocks);
    TRY(file_pread_full(r->fd, r->footer, r->footer_bytes, size - sizeof t - r->footer_bytes, r->name));
    if (block__checksum(&t, offsetof(struct block__trailer, checksum), r->footer, r->footer_bytes)
        != t.checksum)
        return bad_run(r, "the checksum of its footer does not match");
    return parse_footer(r);
}

struct err *
block_run_tail(const void *p, size_t n, uint64_t file_size, const char *name, uint64_t *ret_bytes)
{
    struct block_run r = { .name = (char *)name };
    struct block__trailer t;

    if (n < sizeof t || n > file_size)
        return bad_run(&r, "it has %llu bytes", (unsigned long long)file_size);
    memcpy(&t, (const char *)p + n - sizeof t, sizeof t);
    TRY(check_trailer(&r, &t, file_size));
    *ret_bytes = sizeof t + t.footer_bytes;
    return NULL;
}

struct err *
block_run_tail_check(const void *p, size_t n, uint64_t file_size, const char *name)
{
    struct block_run r = { .name = (char *)name };
    struct block__trailer t;
    uint64_t need;

    TRY(block_run_tail(p, n, file_size, name, &need));
    if (need > n)
        return bad_run(&r, "only %zu bytes of its end are there", n);
    const char *trailer = (const char *)p + n - sizeof t, *footer = trailer - (need - sizeof t);
    memcpy(&t, trailer, sizeof t);
    if (block__checksum(&t, offsetof(struct block__trailer, checksum), footer, t.footer_bytes) != t.checksum)
        return bad_run(&r, "the checksum of its footer does not match");
    return NULL;
}

struct err *
block_run_open(int fd, const char *name, const struct block_codec *const *codecs, struct block_run **ret)
{
    struct block_run *r = calloc(1, sizeof *r);

    if (!r || !(r->name = strdup(name)))
        abort();
    r->refs = 1;
    r->fd = fd;
    r->codecs = codecs;
    struct err *e = read_footer(r);
    if (e)
        block_run_close(r);
    else
        *ret = r;
    return e;
}

void
block_run_close(struct block_run *r)
{
    if (!r || --r->refs)
        return;
    if (r->own_fd)
        file_close(&r->fd);
    free(r->footer);
    free(r->entry);
    free(r->name);
    free(r);
}

struct block_run *
block_run_ref(struct block_run *r)
{
    r->refs++;
    return r;
}

void
block_run_own_fd(struct block_run *r)
{
    r->own_fd = true;
}

struct err *
block__check_entry(const struct block__header *h, const struct block_entry *e, struct block_schema s,
            struct block__at at)
{
    if (h->key != s.key || h->val != s.val || h->rows != e->rows || h->raw != e->raw_bytes
        || sizeof *h + h->stored != e->bytes
        || (uint32_t)h->checksum != e->sum)
        return block__corrupt(at, "it is not the block that the footer describes");
    return NULL;
}

static struct err *
verify_block(const struct block_run *r, const struct block_entry *e, struct buf *b)
{
    struct block__at at = { r->name, e->offset };
    struct block__header h;

    b->n = 0;
    char *p = buf_room(b, e->bytes);
    TRY(file_pread_full(r->fd, p, e->bytes, e->offset, r->name));
    memcpy(&h, p, sizeof h);
    TRY(block__check_header(&h, e->bytes, at));
    TRY(block__check_entry(&h, e, r->schema, at));
    return block__check_sum(&h, p + sizeof h, at);
}

struct err *
block_run_verify(int fd, const char *name)
{
    struct block_run *r;
    struct buf b = { 0 };
    struct err *e = NULL;

    TRY(block_run_open(fd, name, NULL, &r));
    for (uint32_t i = 0; i < r->info.blocks && !e; i++)
        e = verify_block(r, &r->entry[i], &b);
    buf_fini(&b);
    block_run_close(r);
    return e;
}

void
block_run_on_corrupt(struct block_run *r, bool (*again)(void *arg, uint64_t offset, uint32_t bytes, unsigned nth),
                     void *arg)
{
    r->again = again;
    r->again_arg = arg;
}

bool
block__run_again(const struct block_run *r, const struct block_entry *e, unsigned nth)
{
    return r->again && r->again(r->again_arg, e->offset, e->bytes, nth);
}

struct block_schema
block_run_schema(const struct block_run *r)
{
    return r->schema;
}

const struct block_run_info *
block_run_totals(const struct block_run *r)
{
    return &r->info;
}

uint32_t
block_run_count(const struct block_run *r)
{
    return r->info.blocks;
}

bool
block_run_has_first_keys(const struct block_run *r)
{
    return r->first_keys;
}

const struct block_entry *
block_run_entry(const struct block_run *r, uint32_t i)
{
    ASSERT(i < r->info.blocks);
    return &r->entry[i];
}

/* The first entry whose partition is not below p. */
static uint32_t
lower_bound(const struct block_run *r, uint64_t p)
{
    uint32_t lo = 0, hi = r->info.blocks;

    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;

        if (r->entry[mid].partition < p)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

void
block_run_partition(const struct block_run *r, uint32_t partition, uint32_t *ret_from, uint32_t *ret_to)
{
    *ret_from = lower_bound(r, partition);
    *ret_to = lower_bound(r, (uint64_t)partition + 1);
}

size_t
block_run_held(const struct block_run *r)
{
    return sizeof *r + r->footer_bytes + r->info.blocks * sizeof *r->entry;
}

int
block__run_fd(const struct block_run *r)
{
    return r->fd;
}

const char *
block__run_name(const struct block_run *r)
{
    return r->name;
}

const struct block_codec *const *
block__run_codecs(const struct block_run *r)
{
    return r->codecs;
}
