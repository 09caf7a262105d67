/* taskd-submit -- see submit/submit.h */
#include "submit/submit.h"

int
main(int argc, char **argv, char **envp)
{
    return submit_main(argc, argv, envp);
}
