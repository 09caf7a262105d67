/* frames */
#include "net/frame.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "net.h"
#include "net/loop.h"
#include "unit.h"

enum { LIMIT = 1 << 20 };

static void
pair(struct frame_chan *c[2])
{
    int fds[2];

    NO_ERR(frame_pair(fds));
    NO_ERR(frame_open(fds[0], LIMIT, &c[0]));
    NO_ERR(frame_open(fds[1], LIMIT, &c[1]));
}

static int
open_fds(void)
{
    int n = 0;

    for (int fd = 0; fd < 1024; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static char *
pattern(size_t n)
{
    char *p = malloc(n + 1);

    for (size_t i = 0; i < n; i++)
        p[i] = (char)(i * 131 + i / 251);
    return p;
}

void
frame_sizes(void)
{
    static const size_t sizes[] = { 0, 1, 63, 64, 65, 4096, 65535, 65536, 65537, 200000, LIMIT };
    struct frame_chan *c[2];
    struct frame f;
    int before = open_fds();

    pair(c);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char *p = pattern(sizes[i]);

        NO_ERR(frame_send(c[0], 5, (uint32_t)i, p, sizes[i], NULL, 0));
        NO_ERR(frame_recv(c[1], &f));
        EQ_U64(f.type, 5);
        EQ_U64(f.id, i);
        EQ_U64(f.n, sizes[i]);
        EQ_U64(f.nfds, 0);
        CU_ASSERT(!memcmp(f.p, p, sizes[i]));
        free(p);
    }
    bool got = true;
    NO_ERR(frame_recv_now(c[1], &f, &got));
    CU_ASSERT(!got);
    frame_close(c[0]);
    frame_close(c[1]);
    EQ_U64(open_fds(), before);
}

void
frame_descriptors(void)
{
    struct frame_chan *c[2];
    struct frame f;
    int before = open_fds(), fds[FRAME_FDS], fd;
    struct stat want, st;
    char *big = pattern(100000);

    pair(c);
    for (int i = 0; i < FRAME_FDS; i++)
        fds[i] = memfd_create("x", 0);
    fstat(fds[40], &want);
    for (int round = 0; round < 3; round++) { /* inline, then with a memfd behind */
        NO_ERR(frame_send(c[0], 1, 0, big, round == 2 ? 100000 : 3, fds, FRAME_FDS));
        NO_ERR(frame_recv(c[1], &f));
        EQ_U64(f.nfds, FRAME_FDS);
        EQ_U64(f.n, round == 2 ? 100000 : 3);
        fd = frame_take_fd(&f, 40);
        CU_ASSERT(fd >= 0 && fcntl(fd, F_GETFD) == FD_CLOEXEC);
        CU_ASSERT(fstat(fd, &st) == 0 && st.st_ino == want.st_ino);
        EQ_U64(frame_take_fd(&f, 40), -1);
        EQ_U64(frame_take_fd(&f, FRAME_FDS), -1);
        close(fd);
    }
    for (int i = 0; i < FRAME_FDS; i++)
        close(fds[i]);
    frame_close(c[0]);
    frame_close(c[1]);
    EQ_U64(open_fds(), before);
    free(big);
}

/* Sends raw bytes with n copies of a descriptor. */
static void
raw(int fd, const void *p, size_t n, int passed, int copies)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * 100)];
    } control = { 0 };
    struct iovec iov = { (void *)p, n };
    struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

    if (copies) {
        m.msg_control = &control;
        m.msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)copies);
        struct cmsghdr *cm = CMSG_FIRSTHDR(&m);
        *cm = (struct cmsghdr){ CMSG_LEN(sizeof(int) * (size_t)copies), SOL_SOCKET, SCM_RIGHTS };
        for (int i = 0; i < copies; i++)
            memcpy(CMSG_DATA(cm) + sizeof(int) * (size_t)i, &passed, sizeof passed);
    }
    CU_ASSERT(sendmsg(fd, &m, MSG_NOSIGNAL) == (ssize_t)n);
}

static void
refused(const void *p, size_t n, int copies, const char *words)
{
    int fds[2], before = open_fds();
    struct frame_chan *c;
    struct frame f;

    NO_ERR(frame_pair(fds));
    NO_ERR(frame_open(fds[1], LIMIT, &c));
    raw(fds[0], p, n, 0, copies);
    IS_ERR(frame_recv(c, &f), copies > FRAME_FDS + 1 ? ERR_LIMIT : ERR_CORRUPT, words);
    frame_close(c);
    close(fds[0]);
    EQ_U64(open_fds(), before);
}

void
frame_malformed(void)
{
    struct {
        uint32_t type, id, n;
        uint16_t flags, nfds;
        char p[FRAME_INLINE + 8];
    } h = { 1, 2, 3, 0, 0, "abc" };

    refused(&h, 1, 0, "wrong packet size");
    refused(&h, 15, 0, "wrong packet size");
    refused(&h, 16, 0, "3 bytes announced");
    refused(&h, 18, 0, "3 bytes announced");
    refused(&h, 20, 0, "3 bytes announced");
    refused(&h, sizeof h, 0, "wrong packet size");
    refused(&h, 19, 2, "0 descriptors announced, 2 came");
    refused(&h, 19, 80, "descriptors");
    h.nfds = 1;
    refused(&h, 19, 0, "1 descriptors announced, 0 came");
    h.flags = 4;
    refused(&h, 19, 1, "flags 4");
    h.flags = 1;
    refused(&h, 19, 1, "3 bytes announced");
    refused(&h, 16, 1, "not sealed"); /* descriptor 0 is no memfd */
    h.nfds = 0;
    refused(&h, 16, 0, "3 bytes announced");
}

static void
refused_memfd(uint32_t n, size_t size, int seals, const char *words, int code)
{
    struct {
        uint32_t type, id, n;
        uint16_t flags, nfds;
    } h = { 1, 2, n, 1, 1 };
    int fds[2], fd = memfd_create("x", MFD_ALLOW_SEALING), before = open_fds();
    struct frame_chan *c;
    struct frame f;

    CU_ASSERT(ftruncate(fd, (off_t)size) == 0 && fcntl(fd, F_ADD_SEALS, seals) == 0);
    NO_ERR(frame_pair(fds));
    NO_ERR(frame_open(fds[1], LIMIT, &c));
    raw(fds[0], &h, sizeof h, fd, 1);
    if (words)
        IS_ERR(frame_recv(c, &f), code, words);
    else
        NO_ERR(frame_recv(c, &f));
    frame_close(c);
    close(fds[0]);
    EQ_U64(open_fds(), before);
    close(fd);
}

void
frame_unsealed(void)
{
    int all = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW;

    refused_memfd(100, 100, 0, "not sealed", ERR_CORRUPT);
    refused_memfd(100, 100, F_SEAL_WRITE, "not sealed", ERR_CORRUPT);
    refused_memfd(100, 100, F_SEAL_SHRINK | F_SEAL_GROW, "not sealed", ERR_CORRUPT);
    refused_memfd(100, 99, all, "announced 100 bytes", ERR_CORRUPT);
    refused_memfd(100, 5000, all, "announced 100 bytes", ERR_CORRUPT);
    refused_memfd(100, 100, all, NULL, 0);
}

void
frame_limits(void)
{
    struct frame_chan *c[2];
    struct frame f;
    char *p = pattern(LIMIT + 1);

    pair(c);
    NO_ERR(frame_send(c[0], 1, 0, p, LIMIT + 1, NULL, 0));
    IS_ERR(frame_recv(c[1], &f), ERR_LIMIT, "longer than the limit of 1048576");
    free(p);
    frame_close(c[0]);
    frame_close(c[1]);
    IS_ERR(frame_open(open("/dev/null", O_RDWR), 1, &c[0]), ERR_IO, "not a packet socket");
}

void
frame_lost_peer(void)
{
    struct frame_chan *c[2];
    struct frame f;

    pair(c);
    NO_ERR(frame_send(c[0], 9, 0, "abc", 3, NULL, 0));
    frame_close(c[0]);
    NO_ERR(frame_recv(c[1], &f)); /* what was sent before still comes */
    EQ_U64(f.type, 9);
    IS_ERR(frame_recv(c[1], &f), ERR_LOST, "closed its socket");
    IS_ERR(frame_send(c[1], 9, 0, "abc", 3, NULL, 0), ERR_LOST, "closed its socket");
    frame_close(c[1]);
}

/* ---- in a loop: one end floods the other, which answers each frame */

struct flood {
    struct loop *l;
    struct frame_chan *c[2];
    unsigned sent, seen, echoed;
    size_t queued;
    char *big;
    int ended;
};
enum { FLOOD = 300 };

static void
on_echo(void *arg, struct frame *f)
{
    struct flood *s = arg;
    struct stat st;

    EQ_U64(f->id, s->echoed++);
    CU_ASSERT(f->nfds == 1 && fstat(f->fds[0], &st) == 0);
    if (s->echoed == FLOOD) {
        frame_close(s->c[1]);
        s->c[1] = NULL;
    }
}

static void
on_flood(void *arg, struct frame *f)
{
    struct flood *s = arg;
    size_t want = f->id % 10 == 0 ? 100000 : f->id;

    EQ_U64(f->id, s->seen++);
    EQ_U64(f->n, want);
    CU_ASSERT(!memcmp(f->p, s->big, want));
    NO_ERR(frame_post(s->c[1], 2, f->id, f->p, f->n, f->fds, f->nfds));
}

static void
on_flood_end(void *arg, struct err *e)
{
    struct flood *s = arg;

    s->ended++;
    IS_ERR(e, ERR_LOST, "closed its socket");
    loop_stop(s->l);
}

void
frame_in_loop(void)
{
    static const struct frame_handler near = { on_echo, on_flood_end }, far = { on_flood, on_flood_end };
    struct flood s = { .big = pattern(100000) };
    int before = open_fds();

    NO_ERR(loop_new(&s.l));
    pair(s.c);
    NO_ERR(frame_attach(s.c[0], s.l, &near, &s));
    NO_ERR(frame_attach(s.c[1], s.l, &far, &s));
    for (; s.sent < FLOOD; s.sent++) { /* far more than the socket holds */
        int fd = memfd_create("x", MFD_CLOEXEC);

        NO_ERR(frame_post(s.c[0], 1, s.sent, s.big, s.sent % 10 == 0 ? 100000 : s.sent, &fd, 1));
        close(fd);
    }
    CU_ASSERT(frame_queued(s.c[0]) > 0);
    NO_ERR(loop_run(s.l));
    EQ_U64(s.seen, FLOOD);
    EQ_U64(s.echoed, FLOOD);
    EQ_U64(s.ended, 1);
    EQ_U64(frame_queued(s.c[0]), 0);
    NO_ERR(frame_post(s.c[0], 1, 0, "x", 1, NULL, 0)); /* after the end: nobody cares */
    frame_close(s.c[0]);
    loop_free(s.l);
    EQ_U64(open_fds(), before);
    free(s.big);
}

static void
on_close_self(void *arg, struct frame *f)
{
    struct flood *s = arg;

    frame_close(s->c[1]);
    s->seen++;
    loop_stop(s->l);
}

void
frame_closed_in_handler(void)
{
    static const struct frame_handler h = { on_close_self, on_flood_end };
    struct flood s = { 0 };

    NO_ERR(loop_new(&s.l));
    pair(s.c);
    NO_ERR(frame_attach(s.c[1], s.l, &h, &s));
    NO_ERR(frame_send(s.c[0], 1, 0, "x", 1, NULL, 0));
    NO_ERR(frame_send(s.c[0], 1, 0, "x", 1, NULL, 0));
    NO_ERR(loop_run(s.l));
    EQ_U64(s.seen, 1);
    EQ_U64(s.ended, 0);
    frame_close(s.c[0]);
    loop_free(s.l);
}
