/* driver -- taskd-driver with the back-end of the tests */
#include "spawn.h"
#include "submit/cluster.h"

int
main(int argc, char **argv, char **envp)
{
    return submit_cluster_main(argc, argv, envp, &cluster_spawn);
}
