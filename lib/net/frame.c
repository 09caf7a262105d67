/* frame -- see frame.h */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "net/frame_priv.h"

enum { FRAME_MEMFD = 1, SEALS = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW };

#define CLOSED_HERE "somebody in this process closed the descriptor of its socket"

struct head {
    uint32_t type, id, n;
    uint16_t flags, nfds;
};
_Static_assert(sizeof(struct head) == FRAME_HEAD, "the header has no holes");

struct err *
frame_pair(int ret_fds[2])
{
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ret_fds) < 0)
        return err_errno(errno, "making a socket pair");
    return NULL;
}

struct err *
frame_open(int fd, size_t limit, struct frame_chan **ret)
{
    struct frame_chan *c = calloc(1, sizeof *c);
    int type = 0;
    socklen_t n = sizeof type;

    if (!c || !(c->rx = malloc(FRAME_HEAD + FRAME_INLINE)))
        abort();
    c->fd = fd;
    c->limit = limit;
    c->out_end = &c->out;
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) < 0 || type != SOCK_SEQPACKET) {
        frame_close(c);
        return err_new(ERR_IO, "descriptor %d is not a packet socket", fd);
    }
    *ret = c;
    return NULL;
}

/* Gives up what belongs to the frame in hand. */
static void
drop(struct frame_chan *c)
{
    for (int i = 0; i < c->ngot; i++)
        file_close(&c->got[i]);
    c->ngot = 0;
    if (c->map)
        munmap(c->map, c->map_n);
    c->map = NULL;
}

void
frame_close(struct frame_chan *c)
{
    if (!c)
        return;
    if (c->closed)
        *c->closed = true;
    drop(c);
    frame__queue_fini(c);
    loop_io_free(c->io);
    file_close(&c->fd);
    free(c->rx);
    free(c);
}

int
frame_fd(const struct frame_chan *c)
{
    return c->fd;
}

int
frame_take_fd(struct frame *f, int i)
{
    if (i < 0 || i >= f->nfds)
        return -1;
    int fd = f->fds[i];
    f->fds[i] = -1;
    return fd;
}

/* ---- sending */

/* A sealed memfd with the n bytes at p. */
static struct err *
to_memfd(const void *p, size_t n, int *ret)
{
    int fd = memfd_create("taskd-frame", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd < 0)
        return err_errno(errno, "making a memory file");
    struct err *e = file_write_full(fd, p, n, "a memory file");
    if (!e && fcntl(fd, F_ADD_SEALS, SEALS | F_SEAL_SEAL) < 0)
        e = err_errno(errno, "sealing a memory file");
    if (e) {
        close(fd);
        return e;
    }
    *ret = fd;
    return NULL;
}

static struct err *
send_packet(struct frame_chan *c, const struct head *h, const void *p, const int *fds, int flags,
            bool *ret_sent)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * (FRAME_FDS + 1))];
    } control;
    struct iovec iov[2] = { { (void *)h, sizeof *h }, { (void *)p, h->flags & FRAME_MEMFD ? 0 : h->n } };
    struct msghdr m = { .msg_iov = iov, .msg_iovlen = 2 };
    ssize_t r;

    if (h->nfds) {
        m.msg_control = &control;
        m.msg_controllen = CMSG_SPACE(sizeof(int) * h->nfds);
        memset(&control, 0, sizeof control);
        struct cmsghdr *cm = CMSG_FIRSTHDR(&m);
        *cm = (struct cmsghdr){ CMSG_LEN(sizeof(int) * h->nfds), SOL_SOCKET, SCM_RIGHTS };
        memcpy(CMSG_DATA(cm), fds, sizeof(int) * h->nfds);
    }
    do
        r = sendmsg(c->fd, &m, flags | MSG_NOSIGNAL);
    while (r < 0 && errno == EINTR);
    if (r < 0 && (errno == EPIPE || errno == ECONNRESET || errno == ENOTCONN))
        return err_new(ERR_LOST, "the other process closed its socket");
    if (r < 0 && (errno == EBADF || errno == ENOTSOCK))
        return err_new(ERR_LOST, CLOSED_HERE);
    if (r < 0 && errno == ETOOMANYREFS)
        return err_new(ERR_LIMIT, "too many descriptors are under way between processes");
    if (r < 0 && !(errno == EAGAIN && flags & MSG_DONTWAIT))
        return err_errno(errno, "sending a frame of %u bytes", h->n);
    *ret_sent = r >= 0;
    return NULL;
}

struct err *
frame__send_once(struct frame_chan *c, uint32_t type, uint32_t id, const void *p, size_t n,
                 const int *fds, int nfds, int flags, bool *ret_sent)
{
    struct head h = { type, id, (uint32_t)n, 0, (uint16_t)nfds };

    ASSERT(nfds >= 0 && nfds <= FRAME_FDS);
    if (n <= FRAME_INLINE)
        return send_packet(c, &h, p, fds, flags, ret_sent);
    if (n > UINT32_MAX)
        return err_new(ERR_LIMIT, "a frame of %zu bytes is too long", n);
    int all[FRAME_FDS + 1];
    if (nfds)
        memcpy(all, fds, sizeof(int) * (size_t)nfds);
    TRY(to_memfd(p, n, &all[nfds]));
    h.flags = FRAME_MEMFD;
    h.nfds++;
    struct err *e = send_packet(c, &h, NULL, all, flags, ret_sent);
    close(all[nfds]);
    return e;
}

struct err *
frame_send(struct frame_chan *c, uint32_t type, uint32_t id, const void *p, size_t n, const int *fds,
           int nfds)
{
    bool sent = false;

    ASSERT(!c->out);
    return frame__send_once(c, type, id, p, n, fds, nfds, 0, &sent);
}

/* ---- receiving */

static void
collect_fds(struct frame_chan *c, struct msghdr *m)
{
    for (struct cmsghdr *cm = CMSG_FIRSTHDR(m); cm; cm = CMSG_NXTHDR(m, cm)) {
        if (cm->cmsg_level != SOL_SOCKET || cm->cmsg_type != SCM_RIGHTS)
            continue;
        int n = (int)((cm->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        for (int i = 0, fd; i < n; i++) {
            memcpy(&fd, CMSG_DATA(cm) + sizeof(int) * (size_t)i, sizeof fd);
            if (c->ngot <= FRAME_FDS)
                c->got[c->ngot++] = fd;
            else
                close(fd); /* alignment left room for one more */
        }
    }
}

/* Maps the payload that came as the last descriptor. */
static struct err *
map_payload(struct frame_chan *c, size_t n)
{
    int *fd = &c->got[c->ngot - 1];
    struct stat st;
    int seals = fcntl(*fd, F_GET_SEALS);

    if (seals < 0 || (seals & SEALS) != SEALS)
        return err_new(ERR_CORRUPT, "a frame's memory file is not sealed");
    if (fstat(*fd, &st) < 0 || st.st_size != (off_t)n)
        return err_new(ERR_CORRUPT, "a frame's memory file does not have the announced %zu bytes", n);
    void *p = mmap(NULL, n, PROT_READ, MAP_SHARED, *fd, 0);
    if (p == MAP_FAILED)
        return err_errno(errno, "mapping a frame of %zu bytes", n);
    c->map = p;
    c->map_n = n;
    file_close(fd);
    c->ngot--;
    return NULL;
}

/* Checks a packet of r bytes in c->rx against what it says of itself. */
static struct err *
parse(struct frame_chan *c, size_t r, int flags, struct frame *ret)
{
    struct head h;

    if (flags & MSG_CTRUNC)
        return err_hint(err_new(ERR_LIMIT, "not all descriptors of a frame came: the process has no more to spare"),
                        "Raise the limit on open files (ulimit -n).");
    if (flags & MSG_TRUNC || r < sizeof h)
        return err_new(ERR_CORRUPT, "a frame is malformed: wrong packet size");
    memcpy(&h, c->rx, sizeof h);
    if (h.flags & ~FRAME_MEMFD || h.nfds != c->ngot)
        return err_new(ERR_CORRUPT, "a frame is malformed: flags %u, %u descriptors announced, %d came",
                       h.flags, h.nfds, c->ngot);
    if (h.n > c->limit)
        return err_new(ERR_LIMIT, "a frame of %u bytes is longer than the limit of %zu", h.n, c->limit);
    bool memfd = h.flags & FRAME_MEMFD;
    if (r - sizeof h != (memfd ? 0 : h.n) || (memfd && (!h.nfds || !h.n)))
        return err_new(ERR_CORRUPT, "a frame is malformed: %u bytes announced in a packet of %zu", h.n, r);
    if (memfd)
        TRY(map_payload(c, h.n));
    if (c->ngot > FRAME_FDS)
        return err_new(ERR_CORRUPT, "a frame is malformed: %d descriptors", c->ngot);
    *ret = (struct frame){ h.type, h.id, memfd ? c->map : c->rx + sizeof h, h.n, c->ngot, c->got };
    return NULL;
}

static struct err *
recv_packet(struct frame_chan *c, int flags, struct frame *ret, bool *ret_got)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * (FRAME_FDS + 1))];
    } control;
    struct iovec iov = { c->rx, FRAME_HEAD + FRAME_INLINE };
    struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1,
                        .msg_control = &control, .msg_controllen = sizeof control };
    ssize_t r;

    drop(c);
    do
        r = recvmsg(c->fd, &m, flags | MSG_CMSG_CLOEXEC);
    while (r < 0 && errno == EINTR);
    if (r < 0 && errno == EAGAIN && flags & MSG_DONTWAIT) {
        *ret_got = false;
        return NULL;
    }
    if (r == 0 || (r < 0 && errno == ECONNRESET))
        return err_new(ERR_LOST, "the other process closed its socket");
    if (r < 0 && (errno == EBADF || errno == ENOTSOCK))
        return err_new(ERR_LOST, CLOSED_HERE);
    if (r < 0)
        return err_errno(errno, "receiving a frame");
    collect_fds(c, &m);
    TRY(parse(c, (size_t)r, m.msg_flags, ret));
    *ret_got = true;
    return NULL;
}

struct err *
frame_recv(struct frame_chan *c, struct frame *ret)
{
    bool got;

    return recv_packet(c, 0, ret, &got);
}

struct err *
frame_recv_now(struct frame_chan *c, struct frame *ret, bool *ret_got)
{
    return recv_packet(c, MSG_DONTWAIT, ret, ret_got);
}
