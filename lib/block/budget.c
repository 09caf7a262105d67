/* budget -- see budget.h */
#include "block/budget.h"

#include "base/err.h"

static void
set_held(struct budget *b, uint64_t held)
{
    b->held = held;
    if (held > b->peak)
        b->peak = held;
    if (b->used)
        atomic_store_explicit(b->used, held, memory_order_relaxed);
}

bool
budget_force(struct budget *b, size_t n)
{
    if (n > budget_left(b))
        return false;
    set_held(b, b->held + n);
    return true;
}

bool
budget_take(struct budget *b, size_t n)
{
    b->asks++;
#ifdef TASKD_HOSTILE
    if (b->asks % 2 == 0)
        return false;
#endif
    return budget_force(b, n);
}

void
budget_give(struct budget *b, size_t n)
{
    ASSERT(n <= b->held);
    set_held(b, b->held - n);
}

uint64_t
budget_left(const struct budget *b)
{
    return b->held < b->limit ? b->limit - b->held : 0;
}
