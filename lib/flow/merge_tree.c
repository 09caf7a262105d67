/* merge_tree -- a tree of losers over the heads of the inputs. */
#include "block/order.h"
#include "flow/merge_priv.h"

enum { STREAK = 4 };

static inline head_t
head(const struct merge *m, uint32_t i)
{
    const struct spot *s = &m->spot[i];

    return s->at < s->n ? (head_t)s->rank[s->at] << 64 | i : (head_t)UINT64_MAX << 64 | DONE | i;
}

static inline uint64_t
rank_of(head_t h)
{
    return (uint64_t)(h >> 64);
}

/* Order of two strings of equal rank: the next bytes as numbers before memcmp is called. */
static inline int
compare_tails(struct block_str s, struct block_str t)
{
    for (int word = 0; word < 3 && s.n > 8 && t.n > 8; word++) {
        s = (struct block_str){ s.p + 8, s.n - 8 };
        t = (struct block_str){ t.p + 8, t.n - 8 };
        uint64_t a = block_key_rank_str(s), b = block_key_rank_str(t);

        if (a != b)
            return a < b ? -1 : 1;
    }
    return block_str_cmp(s, t);
}

/* Order of the keys of the rows at the spots of a and b, whose ranks are equal. */
static int
compare_keys(const struct merge *m, uint32_t a, uint32_t b)
{
    uint32_t i = m->spot[a].at, j = m->spot[b].at;
    const void *x = m->in[a].cols.col[0], *y = m->in[b].cols.col[0];

    if (!m->ties)
        return block_key_cmp(m->opts.schema.key, x, i, y, j);
    int c = compare_tails(((const struct block_str *)x)[i], ((const struct block_str *)y)[j]);
    return m->opts.descending ? -c : c;
}

/* Is a the first of the two?  Equal ranks are decided by the keys. */
static bool
exact_before(const struct merge *m, head_t a, head_t b)
{
    if (rank_of(a) == rank_of(b) && !((uint64_t)(a | b) & DONE)) {
        int c = compare_keys(m, (uint32_t)a, (uint32_t)b);

        if (c)
            return c < 0;
    }
    return a < b;
}

/* The head of the winner has changed: plays it against the losers on its way up.  Who wins can't be foretold, so the
 * two are swapped by masks; the empty asm keeps the compiler from making a branch of it. */
static inline __attribute__((always_inline)) void
replay(struct merge *m, head_t w, bool exact)
{
    for (uint32_t i = (m->n + (uint32_t)w) / 2; i > 0; i /= 2) {
        head_t l = m->tree[i];
        uint64_t up = -(uint64_t)(exact ? exact_before(m, l, w) : l < w);

        __asm__("" : "+r"(up));
        head_t swap = (l ^ w) & ((head_t)up << 64 | up);
        m->tree[i] = l ^ swap;
        w ^= swap;
    }
    m->tree[0] = w;
}

void
merge__build(struct merge *m, bool exact)
{
    head_t *win = m->heads;

    for (uint32_t i = 0; i < m->n; i++)
        win[m->n + i] = head(m, i);
    for (uint32_t i = m->n - 1; i > 0; i--) {
        head_t a = win[2 * i], b = win[2 * i + 1];
        bool first = exact ? exact_before(m, a, b) : a < b;

        win[i] = first ? a : b;
        m->tree[i] = first ? b : a;
    }
    m->tree[0] = win[1];
}

/* The winner keeps winning: takes its rows as long as they are before every other head, without the tree. */
static uint32_t
gallop(struct merge *m, uint32_t rows, uint32_t w)
{
    struct spot *s = &m->spot[w];
    uint64_t limit = UINT64_MAX;

    for (uint32_t i = (m->n + w) / 2; i > 0; i /= 2)
        limit = rank_of(m->tree[i]) < limit ? rank_of(m->tree[i]) : limit;
    for (; rows < MERGE_ROWS && s->at < s->n && s->rank[s->at] < limit; rows++) {
        m->from[rows] = (struct origin){ w, s->at };
        m->rank[rows] = s->rank[s->at++];
    }
    return rows;
}

/* Picks rows until the batch is full or a block is used up. */
static inline __attribute__((always_inline)) uint32_t
pick_rows(struct merge *m, bool exact)
{
    uint32_t rows = 0, winner = MERGE__NONE, streak = 0;

    while (rows < MERGE_ROWS) {
        head_t h = m->tree[0];
        uint32_t w = (uint32_t)h;
        struct spot *s = &m->spot[w];

        if ((uint64_t)h & DONE)
            break;
        m->from[rows] = (struct origin){ w, s->at++ };
        m->rank[rows++] = rank_of(h);
        streak = w == winner ? streak + 1 : 0;
        winner = w;
        if (__builtin_expect(streak >= STREAK, 0))
            rows = gallop(m, rows, w);
        if (s->at == s->n) {
            m->ended = w;
            break;
        }
        replay(m, (head_t)s->rank[s->at] << 64 | w, exact);
    }
    return rows;
}

uint32_t
merge__pick(struct merge *m, bool exact)
{
    return exact ? pick_rows(m, true) : pick_rows(m, false);
}

void
merge__replay(struct merge *m, uint32_t winner, bool exact)
{
    replay(m, head(m, winner), exact);
}
