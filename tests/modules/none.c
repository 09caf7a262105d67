/* A module without items: it must link and load. */
#include <taskd.h>

static int
job(td_job *j, int argc, char **argv)
{
    return 0;
}
TD_PLUGIN("none", "0", job);
