/* Dies while it is loaded. */
#include <taskd.h>

__attribute__((constructor)) static void
die_early(void)
{
    abort();
}

static int
job(td_job *j, int argc, char **argv)
{
    return 0;
}
TD_PLUGIN("ctor", "1.0", job);
