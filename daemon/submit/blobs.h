/* blobs -- what executors need before they start, as files named by their SHA-256 in a folder that is served to them. */
#ifndef SUBMIT_BLOBS_H
#define SUBMIT_BLOBS_H
#include "base/arena.h"
#include "cluster/cluster.h"
#include "submit/submit_priv.h"

struct blobs {
    char *dir;
    struct cluster_blob *v;
    size_t n;
};
/* Makes dir and puts the module (from its verified bytes) and the files of the options there. */
struct err *blobs_make(struct submit *s, const char *dir, struct blobs *ret) MUST_USE;
#endif
