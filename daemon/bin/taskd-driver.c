/* taskd-driver -- see submit/cluster.h */
#include "cluster/cluster.h"
#include "submit/cluster.h"

int
main(int argc, char **argv, char **envp)
{
    return submit_cluster_main(argc, argv, envp, &cluster_standalone);
}
