/*
 * identity -- what a process shows to the others of its cluster: TLS files and the cluster's token.
 *
 * TLS files   taskd.ssl.ca, .cert, .key; without them ca.pem, node.pem and node.key of ~/.config/taskd/tls, else of
 *             /etc/taskd/tls, if all three are there and can be read
 * token       the file taskd.authenticate.secretFile; without it and without TLS files ~/.config/taskd/token, which the
 *             first process of a user makes: 0600, 32 random bytes as hexadecimal digits
 *
 * ($XDG_CONFIG_HOME stands for ~/.config if it is set.)  So all processes of one user on one machine know each other
 * without any configuration, and a certificate or a copied token file lets in those of other machines.
 *
 * Owner: everything lives in the arena.  Threads: any.  Errors: ERR_CONFIG for a file that is named and can't be used,
 * or that others may read.
 */
#ifndef COMMON_IDENTITY_H
#define COMMON_IDENTITY_H
#include "base/arena.h"
#include "conf/conf.h"
#include "net/tls.h"

enum { IDENTITY_TOKEN_MIN = 16, IDENTITY_TOKEN_MAX = 4096 };

struct identity {
    const struct tls_files *tls; /* NULL: none */
    const unsigned char *token;  /* without the line end of its file; NULL: none */
    size_t token_n;
    const char *token_file;      /* where it is or would be, for sentences */
};
struct err *identity_load(const struct conf *c, struct arena *a, struct identity *ret) MUST_USE;
/* The same for a master: a token file is made in any case, where it is named, too.  Two that start at once get the same
 * token. */
struct err *identity_make(const struct conf *c, struct arena *a, struct identity *ret) MUST_USE;
/* Whether a peer's token is ours; takes the same time wherever they differ.  Without a token of ours: false. */
bool identity_token_fits(const struct identity *i, const void *token, size_t n);
#endif
