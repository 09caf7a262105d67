/* Tests of lib/flow: every source, operator and sink, through jobs written as an author writes them.  flow.h. */
#include "flow.h"

#include <stdlib.h>

int
main(int argc, char **argv)
{
    static const struct unit_test *const parts[] = { flow_text_tests, flow_chain_tests, flow_memory_tests, flow_take_tests,
                                                     flow_fold_tests, flow_sort_tests, flow_sink_tests,
                                                     flow_broadcast_tests };
    struct unit_test all[256];
    size_t n = 0;

    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        for (const struct unit_test *t = parts[i]; t->name; t++)
            all[n++] = *t;
    all[n] = (struct unit_test)UNIT_END;
    return unit_main(argc, argv, "flow", all);
}
