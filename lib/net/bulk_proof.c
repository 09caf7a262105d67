/* bulk_proof -- who is there: nonces, HMACs, addresses. */
#include <errno.h>
#include <netdb.h>
#include <string.h>
#include <sys/random.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "net/bulk_priv.h"

struct err *
bulk__nonce(unsigned char nonce[BULK_NONCE])
{
    if (getrandom(nonce, BULK_NONCE, 0) != BULK_NONCE)
        return err_errno(errno, "getting random bytes");
    return NULL;
}

void
bulk__prove(bool server, const unsigned char secret[BULK_SECRET], const unsigned char server_nonce[BULK_NONCE],
            const unsigned char client_nonce[BULK_NONCE], const char *app, unsigned char ret[BULK_MAC])
{
    char text[32 + 2 * BULK_NONCE + BULK_APP_MAX] = { 0 };
    size_t app_n = strlen(app), n = 32;
    unsigned got = 0;

    ASSERT(app_n <= BULK_APP_MAX);
    strcpy(text, server ? "taskd bulk 1 server" : "taskd bulk 1 client"); /* zeroes up to 32 bytes */
    memcpy(text + n, server_nonce, BULK_NONCE);
    memcpy(text + n + BULK_NONCE, client_nonce, BULK_NONCE);
    n += 2 * BULK_NONCE;
    memcpy(text + n, app, app_n);
    ASSERT(HMAC(EVP_sha256(), secret, BULK_SECRET, (unsigned char *)text, n + app_n, ret, &got) && got == BULK_MAC);
}

bool
bulk__same(const unsigned char a[BULK_MAC], const unsigned char b[BULK_MAC])
{
    return CRYPTO_memcmp(a, b, BULK_MAC) == 0;
}

void
bulk__wipe(void *p, size_t n)
{
    OPENSSL_cleanse(p, n);
}

struct err *
bulk__resolve(const char *address, struct sockaddr_storage *ret, socklen_t *ret_n)
{
    const char *colon = strrchr(address, ':');
    struct addrinfo want = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV }, *got = NULL;
    char host[256];
    size_t n = colon ? (size_t)(colon - address) : 0;

    if (n >= 2 && address[0] == '[' && address[n - 1] == ']')
        address++, n -= 2;
    else if (memchr(address, ':', n)) /* a bare IPv6 address: where does its port begin? */
        n = 0;
    if (n == 0 || n >= sizeof host || !colon[1])
        return err_new(ERR_CONFIG, "\"%s\" is not an address with a port", address);
    memcpy(host, address, n);
    host[n] = 0;
    int failed = getaddrinfo(host, colon + 1, &want, &got);
    if (failed)
        return err_new(ERR_LOST, "looking up \"%s\": %s", host,
                       failed == EAI_SYSTEM ? strerror(errno) : gai_strerror(failed));
    memcpy(ret, got->ai_addr, got->ai_addrlen);
    *ret_n = got->ai_addrlen;
    freeaddrinfo(got);
    return NULL;
}
