/* module_read -- a module's file into a sealed memfd; see module.h */
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "flow/module_priv.h"

/* Opens path and sees to it that it is a file of a sane size. */
static struct err *
open_module(const char *path, int *ret_fd, size_t *ret_n)
{
    const char *name = flow__base_name(path);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), errnum = errno;
    struct stat st;

    if (fd < 0)
        return err_new(ERR_ABI, "opening \"%s\": %s", path, strerror(errnum));
    if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
        close(fd);
        return err_hint(err_new(ERR_ABI, "%s is not a module: it is %s", name,
                                S_ISDIR(st.st_mode) ? "a directory" : "not a file"),
                        "A module is made by taskd-cc: taskd-cc job.c -o job.so");
    }
    if (st.st_size > MODULE_SIZE_MAX) {
        close(fd);
        return err_new(ERR_LIMIT, "%s has %lld bytes, a module may have %d", name, (long long)st.st_size,
                       MODULE_SIZE_MAX);
    }
    *ret_fd = fd;
    *ret_n = (size_t)st.st_size;
    return NULL;
}

/* n bytes of fd into a new memfd. */
static struct err *
copy_in(int fd, size_t n, const char *name, int *ret_memfd)
{
    int memfd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    struct err *e = NULL;
    void *p = MAP_FAILED;

    if (memfd < 0)
        return err_errno(errno, "making shared memory for %s", name);
    if (ftruncate(memfd, (off_t)n))
        e = err_errno(errno, "making shared memory for %s", name);
    if (!e && n) {
        p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
        e = p == MAP_FAILED ? err_errno(errno, "mapping %s", name) : file_pread_full(fd, p, n, 0, name);
    }
    if (p != MAP_FAILED)
        munmap(p, n);
    if (!e && fcntl(memfd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL))
        e = err_errno(errno, "sealing %s", name);
    if (e)
        close(memfd);
    else
        *ret_memfd = memfd;
    return e;
}

static struct err *
digest(const void *p, size_t n, struct module *m)
{
    unsigned len = 0;

    if (!EVP_Digest(p, n, m->sha256, &len, EVP_sha256(), NULL) || len != MODULE_SHA256)
        return err_new(ERR_IO, "libcrypto can't compute a SHA-256");
    for (int i = 0; i < MODULE_SHA256; i++)
        snprintf(m->sha256_hex + 2 * i, 3, "%02x", m->sha256[i]);
    return NULL;
}

struct err *
module_read(const char *path, struct arena *a, struct module *ret)
{
    struct module m = { .fd = -1 };
    const char *name = flow__base_name(path);
    size_t n = 0;
    int fd = -1;

    TRY(open_module(path, &fd, &n));
    struct err *e = copy_in(fd, n, name, &m.fd);

    close(fd);
    if (e)
        return e;
    const void *p = n ? mmap(NULL, n, PROT_READ, MAP_PRIVATE, m.fd, 0) : "";

    if (p == MAP_FAILED) {
        e = err_errno(errno, "mapping %s", name);
    } else {
        m.info.bytes = p;
        m.info.size = n;
        e = digest(p, n, &m);
        if (!e)
            e = module_parse(p, n, path, a, &m.info);
    }
    if (e)
        module_fini(&m);
    else
        *ret = m;
    return e;
}

struct err *
module_read_library(const char *path, const char *name, struct arena *a, struct module_info *ret)
{
    struct buf b = { 0 };
    struct err *e = file_slurp(path, MODULE_SIZE_MAX, &b);

    if (!e)
        e = module_parse_library(b.p, b.n, name, a, ret);
    buf_fini(&b);
    return e;
}

void
module_fini(struct module *m)
{
    if (m->info.bytes && m->info.size)
        munmap((void *)m->info.bytes, m->info.size);
    m->info.bytes = NULL;
    file_close(&m->fd);
}
