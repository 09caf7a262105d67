/* taskd-runner -- the process that makes runners, and the runners.  Not for people: an executor
 * starts it with a socket as descriptor 3. */
#include <stdio.h>
#include <string.h>

#include "runner/runner.h"
#include "runner/zygote.h"

int
main(int argc, char **argv)
{
    if (argc == 2 && !strcmp(argv[1], "--zygote"))
        return zygote_main(runner_main);
    fprintf(stderr, "taskd-runner: is started by taskd itself; see taskd-submit --help\n");
    return 2;
}
