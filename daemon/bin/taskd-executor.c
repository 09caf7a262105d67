/* taskd-executor -- runs the tasks of one application on one host.  Not for people: a worker starts it with an
 * ExecutorSpec as descriptor 3.  See executor/process.h */
#include "executor/process.h"

int
main(void)
{
    return executor_process();
}
