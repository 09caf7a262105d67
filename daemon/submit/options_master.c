/* options_master -- the text of --master, parsed. */
#include <ctype.h>
#include <string.h>

#include "submit/options.h"

enum { SLOTS_MAX = 1024, WORKERS_MAX = 64, ADDRESSES_MAX = 16, DEFAULT_PORT = 7077 };

#define FORMS                                                                                                     \
    "A master is local, local[N], local[*], local-cluster[N,CORES,MEMORY] or taskd://HOST[:PORT] (spark:// is the same)."

static struct err *
no_master(const char *master)
{
    static const char *const later[] = { "slurm", "k8s://", "yarn" };

    for (size_t i = 0; i < sizeof later / sizeof *later; i++)
        if (!strncmp(master, later[i], strlen(later[i])))
            return err_hint(err_new(ERR_CONFIG, "master \"%s\" is not built yet", master), FORMS);
    return err_hint(err_new(ERR_CONFIG, "\"%s\" is not a master", master), FORMS);
}

/* Digits up to the first other character; above max stays above it.  NULL: there is no digit. */
static const char *
number(const char *p, uint64_t max, uint64_t *ret)
{
    uint64_t n = 0;

    if (!isdigit((unsigned char)*p))
        return NULL;
    for (; isdigit((unsigned char)*p); p++)
        n = n > max ? n : n * 10 + (uint64_t)(*p - '0');
    *ret = n;
    return p;
}

static struct err *
local(const char *master, unsigned cpus, struct submit_master *m)
{
    const char *p = master + strlen("local[");
    uint64_t n = 0;

    m->kind = SUBMIT_LOCAL;
    m->slots = cpus > SLOTS_MAX ? SLOTS_MAX : cpus;
    if (!strcmp(master, "local[*]"))
        return NULL;
    if (!(p = number(p, SLOTS_MAX, &n)) || (*p != ',' && strcmp(p, "]")))
        return no_master(master);
    if (*p == ',')
        return err_hint(err_new(ERR_CONFIG, "master \"%s\" has two numbers", master),
                        "Write local[N] and --conf taskd.task.maxFailures=M.");
    if (n == 0)
        return err_hint(err_new(ERR_CONFIG, "master \"%s\" has no runner", master),
                        "N is at least 1; local[*] takes a runner a CPU.");
    if (n > SLOTS_MAX)
        return err_new(ERR_CONFIG, "master \"%s\" has more than %d runners", master, SLOTS_MAX);
    m->slots = (unsigned)n;
    return NULL;
}

/* "1024" are MiB, as in Spark; "1g", "512m" say it themselves. */
static const char *
memory(const char *p, uint64_t *ret)
{
    uint64_t n, unit = 1 << 20;

    if (!(p = number(p, UINT64_C(1) << 40, &n)))
        return NULL;
    switch (tolower((unsigned char)*p)) {
    case 'k':
        unit = 1 << 10;
        break;
    case 'g':
        unit = 1 << 30;
        break;
    case 't':
        unit = UINT64_C(1) << 40;
        break;
    }
    p += *p && strchr("kKmMgGtT", *p);
    if (__builtin_mul_overflow(n, unit, ret))
        *ret = UINT64_MAX;
    return p;
}

/* p behind spaces, which Spark allows around the three numbers; NULL stays. */
static const char *
spaces(const char *p)
{
    return p ? p + strspn(p, " ") : NULL;
}

static struct err *
local_cluster(const char *master, struct submit_master *m)
{
    const char *p = spaces(master + strlen("local-cluster["));
    uint64_t n = 0, cores = 0, bytes = 0;

    m->kind = SUBMIT_LOCAL_CLUSTER;
    if (!(p = spaces(number(p, WORKERS_MAX, &n))) || *p++ != ',' ||
        !(p = spaces(number(spaces(p), SLOTS_MAX, &cores))) || *p++ != ',' || !(p = spaces(memory(spaces(p), &bytes))) ||
        strcmp(p, "]"))
        return err_hint(err_new(ERR_CONFIG, "\"%s\" is not a master", master),
                        "Write local-cluster[WORKERS,CORES,MEMORY], such as local-cluster[2,1,1024] or "
                        "local-cluster[2,1,1g]; each worker has that many cores and that much memory (MiB).");
    if (n < 1 || n > WORKERS_MAX)
        return err_new(ERR_CONFIG, "master \"%s\" has not between 1 and %d workers", master, WORKERS_MAX);
    if (cores < 1 || cores > SLOTS_MAX)
        return err_new(ERR_CONFIG, "master \"%s\" has not between 1 and %d cores a worker", master, SLOTS_MAX);
    if (bytes < 1 << 20 || bytes > INT64_MAX)
        return err_new(ERR_CONFIG, "master \"%s\" has not between 1m and 8388607t of memory a worker", master);
    m->workers = (unsigned)n;
    m->cores = (unsigned)cores;
    m->memory = bytes;
    return NULL;
}

/* HOST, HOST:PORT, [V6] or [V6]:PORT of n bytes, as "HOST:PORT"; NULL if it is none. */
static const char *
address(struct arena *a, const char *s, size_t n)
{
    const char *text = arena_memdup(a, s, n), *host_end = text, *p;
    uint64_t port = DEFAULT_PORT;

    if (*text == '[') {
        host_end = text + 1 + strcspn(text + 1, "]/@[ ");
        if (*host_end++ != ']' || host_end == text + 2)
            return NULL;
    } else {
        while (isalnum((unsigned char)*host_end) || (*host_end && strchr("._-", *host_end)))
            host_end++;
    }
    if (host_end == text)
        return NULL;
    p = host_end;
    if (*p == ':')
        p = number(p + 1, 65535, &port);
    if (!p || *p || port < 1 || port > 65535)
        return NULL;
    return arena_printf(a, "%.*s:%u", (int)(host_end - text), text, (unsigned)port);
}

static struct err *
standalone(const char *master, const char *rest, struct arena *a, struct submit_master *m)
{
    struct buf url = { 0 };

    m->kind = SUBMIT_STANDALONE;
    m->addresses = ARENA_ARRAY(a, const char *, ADDRESSES_MAX + 1);
    for (const char *p = rest;; p++) {
        size_t n = strcspn(p, ",");
        const char *one = address(a, p, n);

        if (!one || m->n_addresses == ADDRESSES_MAX) {
            buf_fini(&url);
            if (!one && n)
                return err_hint(err_new(ERR_CONFIG, "master \"%s\": \"%.*s\" is not a host and port", master, (int)n, p),
                                "Write taskd://HOST:PORT; the port is %d if it is left out.", DEFAULT_PORT);
            return one ? err_new(ERR_CONFIG, "master \"%s\" has more than %d addresses", master, ADDRESSES_MAX)
                       : err_hint(err_new(ERR_CONFIG, "master \"%s\" names no host", master),
                                  "Write taskd://HOST:PORT; the port is %d if it is left out.", DEFAULT_PORT);
        }
        m->addresses[m->n_addresses++] = one;
        buf_printf(&url, "%s%s", url.n ? "," : "taskd://", one);
        p += n;
        if (!*p)
            break;
    }
    m->url = arena_memdup(a, url.p, url.n);
    buf_fini(&url);
    return NULL;
}

struct err *
submit_master_parse(const char *master, unsigned cpus, struct arena *a, struct submit_master *ret)
{
    struct submit_master m = { .kind = SUBMIT_LOCAL, .slots = 1, .url = master };

    if (!strncmp(master, "local[", 6))
        TRY(local(master, cpus, &m));
    else if (!strncmp(master, "local-cluster[", 14))
        TRY(local_cluster(master, &m));
    else if (!strncmp(master, "taskd://", 8) || !strncmp(master, "spark://", 8))
        TRY(standalone(master, master + 8, a, &m));
    else if (strcmp(master, "local"))
        return no_master(master);
    *ret = m;
    return NULL;
}
