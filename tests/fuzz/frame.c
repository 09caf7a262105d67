/* Fuzz target: packets as a hostile peer may send them.  First byte of a packet: how many and which
 * descriptors go along; u16 length; bytes. */
#define _GNU_SOURCE 1
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static int kinds[4]; /* null device, unsealed memfd, sealed ones */

static void
make_kinds(void)
{
    kinds[0] = open("/dev/null", O_RDWR);
    for (int i = 1; i < 4; i++) {
        kinds[i] = memfd_create("x", MFD_ALLOW_SEALING);
        if (ftruncate(kinds[i], i == 3 ? 5000 : 64) < 0 ||
            (i > 1 && fcntl(kinds[i], F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW) < 0))
            abort();
    }
}

static void
send_raw(int fd, const uint8_t *p, size_t n, unsigned nfds, unsigned kind)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * 128)];
    } control = { 0 };
    struct iovec iov = { (void *)p, n };
    struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

    if (nfds) {
        m.msg_control = &control;
        m.msg_controllen = CMSG_SPACE(sizeof(int) * nfds);
        struct cmsghdr *cm = CMSG_FIRSTHDR(&m);
        cm->cmsg_len = CMSG_LEN(sizeof(int) * nfds);
        cm->cmsg_level = SOL_SOCKET;
        cm->cmsg_type = SCM_RIGHTS;
        for (unsigned i = 0; i < nfds; i++)
            memcpy(CMSG_DATA(cm) + sizeof(int) * i, &kinds[kind], sizeof(int));
    }
    if (n && sendmsg(fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        return;
}

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    const uint8_t *end = p + n;
    struct frame_chan *c;
    struct frame f;
    int fds[2], probe;
    bool got = true;

    if (!kinds[0])
        make_kinds();
    int before = dup(0);
    close(before);
    if (frame_pair(fds) || frame_open(fds[1], 65536, &c))
        abort();
    while (end - p >= 3) {
        unsigned kind = p[0] & 3, nfds = (p[0] >> 2) > 60 ? 100 : (p[0] >> 2) % 4;
        size_t len = (size_t)(p[1] | p[2] << 8);

        p += 3;
        len = len < (size_t)(end - p) ? len : (size_t)(end - p);
        send_raw(fds[0], p, len, nfds, kind);
        p += len;
        struct err *e = frame_recv_now(c, &f, &got);
        if (e) {
            err_free(e);
            break;
        }
        char sum = 0;
        for (size_t i = 0; got && i < f.n; i++)
            sum += f.p[i];
        __asm__ volatile("" :: "r"(sum));
        if (got && f.nfds)
            close(frame_take_fd(&f, 0));
    }
    frame_close(c);
    close(fds[0]);
    probe = dup(0);
    close(probe);
    if (probe != before) /* a descriptor leaked */
        abort();
    return 0;
}
