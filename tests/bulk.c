#include "unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "net/tls.h"

static void
loopback(void)
{
    static const char *const yes[] = { "127.0.0.1", "127.255.3.4", "::1", "[::1]", "localhost", "LocalHost" };
    static const char *const no[] = { "",        "0.0.0.0", "10.0.0.1", "::",   "[::]",      "127.0.0.1.example.org",
                                      "128.0.0.1", "::2",     "127.1",    "[::1", "localhost.", "[127.0.0.1]" };
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++)
        CU_ASSERT(tls_is_loopback(yes[i]));
    for (size_t i = 0; i < sizeof no / sizeof *no; i++)
        CU_ASSERT(!tls_is_loopback(no[i]));
    CU_ASSERT(!tls_is_loopback(NULL));
}

static void
write_file(const char *path, int mode)
{
    int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0600);
    CU_ASSERT_FATAL(fd >= 0);
    CU_ASSERT(write(fd, "x", 1) == 1);
    CU_ASSERT(fchmod(fd, (mode_t)mode) == 0);
    close(fd);
}

static void
who_may_listen(void)
{
    char dir[] = "/tmp/taskd-tls-XXXXXX", ca[64], cert[64], key[64];
    CU_ASSERT_FATAL(mkdtemp(dir) != NULL);
    snprintf(ca, sizeof ca, "%s/ca", dir);
    snprintf(cert, sizeof cert, "%s/cert", dir);
    snprintf(key, sizeof key, "%s/key", dir);
    struct tls_files tls = { ca, cert, key };

    NO_ERR(tls_check_listen("127.0.0.1", NULL));
    IS_ERR(tls_check_listen("0.0.0.0", NULL), ERR_DENIED, "refusing to listen on '0.0.0.0' without TLS");
    write_file(ca, 0644);
    write_file(cert, 0644);
    IS_ERR(tls_check_listen("10.0.0.1", &tls), ERR_CONFIG, "cannot read the TLS key file");
    write_file(key, 0640);
    IS_ERR(tls_check_listen("10.0.0.1", &tls), ERR_CONFIG, "may be read by others (mode 0640)");
    write_file(key, 0600);
    NO_ERR(tls_check_listen("10.0.0.1", &tls));
    NO_ERR(tls_check_listen("::1", &tls));
    CU_ASSERT(unlink(ca) == 0);
    IS_ERR(tls_check_listen("10.0.0.1", &tls), ERR_CONFIG, "cannot read the TLS CA file");
    tls.ca = NULL;
    IS_ERR(tls_check_listen("10.0.0.1", &tls), ERR_CONFIG, "none is named");
    CU_ASSERT(unlink(cert) == 0 && unlink(key) == 0 && rmdir(dir) == 0);
}

int
main(int argc, char **argv)
{
    static const struct unit_test tests[] = {
        { "tls.loopback", loopback },
        { "tls.who_may_listen", who_may_listen },
        UNIT_END,
    };
    return unit_main(argc, argv, "bulk", tests);
}
