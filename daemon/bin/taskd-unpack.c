/* taskd-unpack DIR -- unpacks the archive that is its descriptor 3 into DIR; see worker/unpack.h.  The worker's child. */
#include <stdio.h>
#include <stdlib.h>

#include "worker/unpack.h"

int
main(int argc, char **argv)
{
    struct unpack_limits l = { 0 };
    struct err *e = argc == 2 ? unpack(3, argv[1], &l) : err_new(ERR_USAGE, "usage: taskd-unpack DIR 3<ARCHIVE");

    if (!e)
        return 0;
    char *text = err_text(e);
    fprintf(stderr, "%s\n", text);
    return err_code_exit(e->code);
}
