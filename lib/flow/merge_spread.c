/*
 * merge_spread -- a batch by hash, without comparing.
 *
 * Ranks that are hashes are spread evenly, so the rows of the next batch are known by a range of ranks: from the least
 * head to a rank behind which, by the density of the blocks at hand, about a batch of rows lies.  They are put into
 * buckets, one for each slice of the range, input by input so that equal ranks stay in the order of the inputs; there
 * are more buckets than rows, so little is left to do by insertion.  It costs the same for 2 inputs and for 200,
 * and no branch in it is hard to foretell.
 *
 * When it does not work out (few rows are left before some block ends, more rows than a batch holds because many have
 * one key, only one input has rows) the tree picks the next batch.
 */
#include <string.h>

#include "flow/merge_priv.h"

enum {
    BUCKET_BITS = 11,
    BUCKETS = 1 << BUCKET_BITS,
    ROWS_WANTED = MERGE_ROWS / 8 * 7, /* the rest is for chance */
    ROWS_MIN = 64,
    WAIT = 16, /* batches after one that did not fit */
};

/* The ranks [lo, hi). */
struct range {
    uint64_t lo, hi;
    unsigned shift; /* rank - lo >> shift is the bucket */
};

/* A range of about ROWS_WANTED rows that are all in the blocks at hand. */
static bool
choose(const struct merge *m, struct range *ret)
{
    uint64_t lo = UINT64_MAX, safe = UINT64_MAX;
    double density = 0; /* rows per rank */
    uint32_t active = 0;

    for (uint32_t i = 0; i < m->n; i++) {
        const struct spot *s = &m->spot[i];

        if (s->at == s->n)
            continue;
        uint64_t first = s->rank[s->at], last = s->rank[s->n - 1];

        lo = first < lo ? first : lo;
        safe = last < safe ? last : safe; /* the block behind may begin with this rank, too */
        density += (s->n - s->at - 1) / ((double)(last - first) + 1); /* steps from row to row, so one row says nothing */
        active++;
    }
    if (active < 2 || safe <= lo)
        return false;
    double span = ROWS_WANTED / density;
    uint64_t hi = span < (double)(safe - lo) ? lo + (uint64_t)span : safe;
    if ((double)(hi - lo) * density < ROWS_MIN)
        return false;
    unsigned bits = 64 - (unsigned)__builtin_clzll((hi - lo - 1) | (BUCKETS - 1));
    *ret = (struct range){ lo, hi, bits - BUCKET_BITS };
    return true;
}

/* How many rows are in each bucket.  False: more than a batch. */
static bool
count(const struct merge *m, const struct range *r, uint16_t *n, uint32_t *end)
{
    uint32_t room = MERGE_ROWS;

    for (uint32_t i = 0; i < m->n; i++) {
        const struct spot *s = &m->spot[i];
        uint32_t k = s->at, stop = s->n - k < room ? s->n : k + room;

        for (; k < stop && s->rank[k] < r->hi; k++)
            n[(s->rank[k] - r->lo) >> r->shift]++;
        if (k == stop && k < s->n && s->rank[k] < r->hi)
            return false;
        room -= k - s->at;
        end[i] = k;
    }
    return true;
}

/* Buckets were filled in any order of ranks: mends the few that are not in order. */
static void
mend(struct merge *m, uint32_t rows)
{
    for (uint32_t i = 1; i < rows; i++) {
        uint64_t rank = m->rank[i];
        struct origin from = m->from[i];
        uint32_t k = i;

        for (; k > 0 && m->rank[k - 1] > rank; k--) {
            m->rank[k] = m->rank[k - 1];
            m->from[k] = m->from[k - 1];
        }
        m->rank[k] = rank;
        m->from[k] = from;
    }
}

uint32_t
merge__spread(struct merge *m)
{
    uint16_t place[BUCKETS];
    uint32_t rows = 0;
    struct range r;

    if (m->wait) {
        m->wait--;
        return 0;
    }
    if (MERGE_ROWS < 4 * ROWS_MIN || !choose(m, &r))
        return 0;
    memset(place, 0, sizeof place);
    if (!count(m, &r, place, m->end)) {
        m->wait = WAIT;
        return 0;
    }
    for (uint32_t b = 0; b <= (r.hi - r.lo - 1) >> r.shift; b++) {
        uint16_t n = place[b];

        place[b] = (uint16_t)rows;
        rows += n;
    }
    for (uint32_t i = 0; i < m->n; i++) {
        struct spot *s = &m->spot[i];

        for (; s->at < m->end[i]; s->at++) {
            uint32_t to = place[(s->rank[s->at] - r.lo) >> r.shift]++;

            m->rank[to] = s->rank[s->at];
            m->from[to] = (struct origin){ i, s->at };
        }
    }
    mend(m, rows);
    m->rebuild = true;
    return rows;
}
