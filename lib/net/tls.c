#include "net/tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

bool
tls_is_loopback(const char *host)
{
    struct in_addr a4;
    struct in6_addr a6;
    char bare[INET6_ADDRSTRLEN];
    if (!host)
        return false;
    if (strcasecmp(host, "localhost") == 0)
        return true;
    size_t n = strlen(host);
    if (n >= 2 && host[0] == '[' && host[n - 1] == ']') { /* as it stands in an address with a port */
        if (n - 2 >= sizeof bare)
            return false;
        memcpy(bare, host + 1, n - 2);
        bare[n - 2] = 0;
        return inet_pton(AF_INET6, bare, &a6) == 1 && IN6_IS_ADDR_LOOPBACK(&a6);
    }
    if (inet_pton(AF_INET, host, &a4) == 1)
        return (ntohl(a4.s_addr) >> 24) == 127;
    return inet_pton(AF_INET6, host, &a6) == 1 && IN6_IS_ADDR_LOOPBACK(&a6);
}

static struct err *
check_file(const char *path, const char *what, bool private)
{
    struct stat st;
    if (!path || !*path)
        return err_hint(err_new(ERR_CONFIG, "TLS needs a %s file and none is named", what),
                        "Set taskd.ssl.ca, taskd.ssl.cert and taskd.ssl.key; `taskd cert` makes such files.");
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return err_new(ERR_CONFIG, "cannot read the TLS %s file '%s': %s", what, path, strerror(errno));
    int failed = fstat(fd, &st) ? errno : 0;
    close(fd);
    if (failed)
        return err_new(ERR_CONFIG, "cannot read the TLS %s file '%s': %s", what, path, strerror(failed));
    if (!S_ISREG(st.st_mode))
        return err_new(ERR_CONFIG, "the TLS %s file '%s' is not a regular file", what, path);
    if (private && (st.st_mode & 077) != 0)
        return err_hint(err_new(ERR_CONFIG, "the TLS %s file '%s' may be read by others (mode %04o)", what, path,
                                (unsigned)(st.st_mode & 07777)),
                        "chmod 600 '%s', and make a new key if somebody may have read it.", path);
    return NULL;
}

struct err *
tls_check_listen(const char *host, const struct tls_files *tls)
{
    if (!tls) {
        if (tls_is_loopback(host))
            return NULL;
        return err_hint(err_new(ERR_DENIED, "refusing to listen on '%s' without TLS: it is not a loopback address",
                                host ? host : ""),
                        "Set taskd.ssl.ca, taskd.ssl.cert and taskd.ssl.key (`taskd cert` makes them), or listen on "
                        "127.0.0.1.");
    }
    TRY(check_file(tls->ca, "CA", false));
    TRY(check_file(tls->cert, "certificate", false));
    return check_file(tls->key, "key", true);
}
