/* ring_bell -- one bell for all runners of an executor, and the memories of rings. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "net/ring_priv.h"

struct ring_bell {
    int event, fd;
    struct ring_page *page;
};

struct err *
ring__memory(const char *name, size_t n, int *ret)
{
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd < 0)
        return err_errno(errno, "making shared memory");
    if (ftruncate(fd, (off_t)n) < 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) < 0) {
        int errnum = errno;

        close(fd);
        return err_errno(errnum, "making %zu bytes of shared memory", n);
    }
    *ret = fd;
    return NULL;
}

struct err *
ring__map(int fd, size_t n, int prot, void **ret)
{
    int seals = fcntl(fd, F_GET_SEALS), want = F_SEAL_SHRINK | F_SEAL_GROW;
    struct stat st;

    if (seals < 0 || (seals & want) != want || fstat(fd, &st) < 0 || st.st_size != (off_t)n)
        return err_new(ERR_CORRUPT, "descriptor %d is not a ring of this version", fd);
    void *p = mmap(NULL, n, prot, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED)
        return err_errno(errno, "mapping %zu bytes of shared memory", n);
    *ret = p;
    return NULL;
}

struct err *
ring_bell_new(struct ring_bell **ret)
{
    struct ring_bell *b = calloc(1, sizeof *b);
    struct err *e = NULL;
    void *p = NULL;

    if (!b)
        abort();
    b->fd = -1;
    b->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (b->event < 0)
        e = err_errno(errno, "making an eventfd");
    if (!e)
        e = ring__memory("taskd-bell", RING_PAGE, &b->fd);
    if (!e)
        e = ring__map(b->fd, RING_PAGE, PROT_READ | PROT_WRITE, &p);
    if (!e && fcntl(b->fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SEAL) < 0)
        e = err_errno(errno, "sealing shared memory");
    b->page = p;
    if (e) {
        ring_bell_free(b);
        return e;
    }
    *ret = b;
    return NULL;
}

void
ring_bell_free(struct ring_bell *b)
{
    if (!b)
        return;
    if (b->page)
        munmap(b->page, RING_PAGE);
    file_close(&b->fd);
    file_close(&b->event);
    free(b);
}

int
ring_bell_event(const struct ring_bell *b)
{
    return b->event;
}

int
ring_bell_page(const struct ring_bell *b)
{
    return b->fd;
}

void
ring_bell_arm(struct ring_bell *b)
{
    atomic_store_explicit(&b->page->waiting, 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
}

void
ring_bell_disarm(struct ring_bell *b)
{
    atomic_store_explicit(&b->page->waiting, 0, memory_order_relaxed);
}

void
ring_bell_clear(struct ring_bell *b)
{
    uint64_t n;

    if (read(b->event, &n, sizeof n) < 0)
        ASSERT(errno == EAGAIN || errno == EINTR);
}
