/* tails -- what an executor keeps of other hosts' map outputs: found again, replaced, and never more than the limit. */
#include "executor/tails.h"

#include <stdbool.h>
#include <string.h>

#include "unit.h"

static struct tail_key
key(uint32_t map)
{
    return (struct tail_key){ 3, map, 0, 1 };
}

static void
put(struct tails *t, uint32_t map, size_t n)
{
    char bytes[400];
    struct tail_key k = key(map);
    struct tail v = { 1000 + map, bytes, n };

    memset(bytes, (int)map, sizeof bytes);
    tails_put(t, &k, &v);
}

static bool
has(struct tails *t, uint32_t map, size_t n)
{
    struct tail_key k = key(map);
    const struct tail *v = tails_get(t, &k);

    if (!v)
        return false;
    EQ_U64(v->size, 1000 + map);
    EQ_U64(v->n, n);
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)v->p[i] != (unsigned char)map)
            return false;
    return true;
}

static void
kept(void)
{
    struct tails *t = tails_new(1 << 20);
    struct tail_key other = { 3, 5, 1, 1 };

    CU_ASSERT(!has(t, 5, 100));
    put(t, 5, 100);
    CU_ASSERT(has(t, 5, 100));
    CU_ASSERT(!tails_get(t, &other)); /* another attempt is another file */
    put(t, 5, 200);
    CU_ASSERT(has(t, 5, 200));
    for (uint32_t map = 0; map < 2000; map++)
        put(t, map, map % 300);
    for (uint32_t map = 0; map < 2000; map++)
        CU_ASSERT(has(t, map, map % 300));
    for (uint32_t map = 0; map < 2000; map += 2) {
        struct tail_key k = key(map);
        tails_drop(t, &k);
    }
    for (uint32_t map = 0; map < 2000; map++)
        CU_ASSERT(has(t, map, map % 300) == (map % 2 == 1));
    tails_free(t);
    tails_free(NULL);
}

static void
bounded(void)
{
    struct tails *t = tails_new(10000);
    uint32_t most = 0;

    for (uint32_t map = 0; map < 1000; map++) {
        put(t, map, 300);
        CU_ASSERT(has(t, map, 300));
        CU_ASSERT(has(t, 0, 300)); /* used all the time, so it stays */
        CU_ASSERT(tails_held(t) <= 10000);
    }
    for (uint32_t map = 1; map < 1000; map++)
        if (has(t, map, 300))
            most++;
    CU_ASSERT(most >= 10 && most < 33);
    CU_ASSERT(has(t, 999, 300));
    CU_ASSERT(!has(t, 1, 300));
    tails_free(t);
    t = tails_new(1000);
    put(t, 1, 300); /* more than its share */
    CU_ASSERT(!has(t, 1, 300));
    EQ_U64(tails_held(t), 0);
    tails_free(t);
}

int
main(int argc, char **argv)
{
    static const struct unit_test tests[] = { { "tails.kept", kept }, { "tails.bounded", bounded }, UNIT_END };

    return unit_main(argc, argv, "tails", tests);
}
