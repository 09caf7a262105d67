/* taskd-client -- see client/client.h */
#include "client/client.h"

int
main(int argc, char **argv, char **envp)
{
    return client_main(argc, argv, envp);
}
