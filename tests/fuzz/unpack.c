/* unpack -- archives of any bytes: nothing is written outside the folder, and no more than the limits. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "worker/unpack.h"

int LLVMFuzzerTestOneInput(const unsigned char *p, size_t n);

int
LLVMFuzzerTestOneInput(const unsigned char *p, size_t n)
{
    static const struct unpack_limits limits = { .bytes = 1 << 20, .entries = 50 };
    char top[] = "/dev/shm/taskd-fuzz-XXXXXX", in[64];
    int fd = memfd_create("archive", MFD_CLOEXEC);

    if (fd < 0 || write(fd, p, n) != (ssize_t)n || lseek(fd, 0, SEEK_SET) || !mkdtemp(top))
        abort();
    snprintf(in, sizeof in, "%s/in", top);
    if (mkdir(in, 0700) < 0)
        abort();
    struct err *e = unpack(fd, in, &limits);
    err_free(e);
    close(fd);
    err_free(file_remove_tree(in));
    if (rmdir(top) < 0) /* something lies beside it */
        abort();
    return 0;
}
