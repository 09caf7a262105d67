/* host -- see host.h */
#include "common/host.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static bool
is_loopback(const struct sockaddr *a)
{
    if (a->sa_family == AF_INET)
        return ntohl(((const struct sockaddr_in *)(const void *)a)->sin_addr.s_addr) >> 24 == 127;
    return a->sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)(const void *)a)->sin6_addr);
}

struct err *
host_check(const char *host)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST }, *found = NULL;
    char address[NI_MAXHOST];
    struct err *e = NULL;

    if (!strcasecmp(host, "localhost"))
        return NULL;
    if (getaddrinfo(host, NULL, &hints, &found) == 0) {
        freeaddrinfo(found);
        return NULL;
    }
    hints.ai_flags = 0;
    if (getaddrinfo(host, NULL, &hints, &found))
        return NULL;
    /* the first is what is listened at */
    if (is_loopback(found->ai_addr) &&
        getnameinfo(found->ai_addr, found->ai_addrlen, address, sizeof address, NULL, 0, NI_NUMERICHOST) == 0)
        e = err_hint(err_new(ERR_CONFIG, "\"%s\" is %s on this host, where no other host gets to", host, address),
                     "Name this host's address with --host, or mend /etc/hosts.");
    freeaddrinfo(found);
    return e;
}

void
host_warn(const struct event_sink *log, const char *host)
{
    struct err *e = host_check(host);
    char *text = e ? err_text(e) : NULL;

    if (e)
        EMIT(log, log_warn, .message = "other hosts can't reach this one", .err = text);
    free(text);
    err_free(e);
}
