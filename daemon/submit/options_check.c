/* options_check -- what a line means as a whole: files that go along, and what doesn't fit together. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "submit/options.h"
#include "submit/options_priv.h"

enum { FILES_MAX = 1024 };

/* The name that a job finds the file by: one part of a path. */
static bool
good_name(const char *s)
{
    return *s && strlen(s) <= 255 && !strchr(s, '/') && strcmp(s, ".") && strcmp(s, "..");
}

static struct err *
check_file(const struct submit_file *f)
{
    size_t n = strlen(f->name);
    struct stat st;

    if (stat(f->path, &st) < 0)
        return err_errno(errno, "opening \"%s\"", f->path);
    if (!S_ISREG(st.st_mode))
        return err_new(ERR_CONFIG, "\"%s\" is not a file", f->path);
    if (f->use == SUBMIT_LIBRARY && !strstr(f->name, ".so"))
        return err_hint(err_new(ERR_CONFIG, "\"%s\" is not a shared library", f->path),
                        n > 4 && !strcmp(f->name + n - 4, ".zip") ? "Unpack it and name the libraries in it."
                                                                  : "Libraries are files like libgeo.so or libgeo.so.1.");
    return NULL;
}

/* One item of a list: PATH or PATH#NAME. */
static struct err *
add_file(struct arena *a, struct submit_options *o, enum submit_use use, const char *s, size_t n)
{
    char *path = arena_memdup(a, s, n), *hash = use == SUBMIT_LIBRARY ? NULL : strrchr(path, '#');
    struct submit_file *f = &o->files[o->n_files];

    if (hash)
        *hash = 0;
    f->use = use;
    f->path = path;
    f->name = hash ? hash + 1 : strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    if (!good_name(f->name))
        return err_new(ERR_CONFIG, "\"%.*s\" does not name a file", (int)n, s);
    if (o->n_files == FILES_MAX)
        return err_new(ERR_CONFIG, "there are more than %d files", FILES_MAX);
    for (size_t i = 0; i < o->n_files; i++)
        if (!strcmp(o->files[i].name, f->name))
            return err_hint(err_new(ERR_CONFIG, "two files are called \"%s\"", f->name),
                            use == SUBMIT_LIBRARY ? "Rename one of them."
                                                  : "Give one of them another name: PATH#NAME.");
    TRY(check_file(f));
    o->n_files++;
    return NULL;
}

static struct err *
add_list(struct arena *a, struct submit_options *o, enum submit_use use, const char *list)
{
    for (const char *p = list; *p; p += *p == ',') {
        size_t n = strcspn(p, ",");

        if (n)
            TRY(add_file(a, o, use, p, n));
        p += n;
    }
    return NULL;
}

static struct err *
files(struct arena *a, struct submit_options *o)
{
    static const struct {
        enum conf_key key;
        enum submit_use use;
    } lists[] = { { CONF_LIBS, SUBMIT_LIBRARY }, { CONF_FILES, SUBMIT_FILE }, { CONF_ARCHIVES, SUBMIT_ARCHIVE } };

    o->files = ARENA_ARRAY(a, struct submit_file, FILES_MAX + 1);
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        const char *list = conf_str(o->conf, lists[i].key), *origin = conf_origin(o->conf, lists[i].key);

        TRY_OR(add_list(a, o, lists[i].use, list), "%s", origin);
    }
    return NULL;
}

static struct err *
deploy(const struct submit_options *o)
{
    const struct conf *c = o->conf;

    if (o->cluster_mode && o->master.kind != SUBMIT_STANDALONE)
        return err_hint(err_new(ERR_CONFIG, "%s: deploy mode cluster needs a cluster, and the master is \"%s\"",
                                conf_origin(c, CONF_DEPLOY_MODE), conf_str(c, CONF_MASTER)),
                        "Use --deploy-mode client, or --master taskd://HOST:PORT.");
    if (!o->cluster_mode && conf_bool(c, CONF_DRIVER_SUPERVISE))
        return err_hint(err_new(ERR_CONFIG, "%s: in client mode the driver runs here, and nobody starts it again",
                                conf_origin(c, CONF_DRIVER_SUPERVISE)),
                        "Use --deploy-mode cluster.");
    if (!o->cluster_mode && o->detach)
        return err_hint(err_new(ERR_USAGE, "--detach: in client mode the driver runs here, there is nothing to leave"),
                        "Use --deploy-mode cluster.");
    if (o->cluster_mode && o->summary)
        return err_hint(err_new(ERR_USAGE, "--summary: in cluster mode the driver runs elsewhere and can't write it here"),
                        "Use --deploy-mode client, or `taskd status --json` afterwards.");
    return NULL;
}

static struct err *
sizes(const struct submit_options *o)
{
    const struct conf *c = o->conf;
    int64_t total = conf_int(c, CONF_CORES_MAX), each = conf_int(c, CONF_EXECUTOR_CORES);

    if (o->master.kind == SUBMIT_LOCAL)
        return NULL;
    if (total && total < each)
        return err_new(ERR_CONFIG, "%s: %lld cores in all are fewer than the %lld of one executor",
                       conf_origin(c, CONF_CORES_MAX), (long long)total, (long long)each);
    if (o->master.kind != SUBMIT_LOCAL_CLUSTER)
        return NULL;
    if (each > o->master.cores)
        return err_new(ERR_CONFIG, "%s: an executor of %lld cores does not fit into a worker of %u",
                       conf_origin(c, CONF_EXECUTOR_CORES), (long long)each, o->master.cores);
    if (conf_bytes(c, CONF_EXECUTOR_MEMORY) > o->master.memory)
        return err_hint(err_new(ERR_CONFIG, "an executor of %llu MiB does not fit into a worker of %llu MiB",
                                (unsigned long long)conf_bytes(c, CONF_EXECUTOR_MEMORY) >> 20,
                                (unsigned long long)o->master.memory >> 20),
                        "Use --executor-memory, or the third number of local-cluster[N,CORES,MEMORY].");
    return NULL;
}

static struct err *
tls(const struct conf *c)
{
    static const enum conf_key keys[] = { CONF_SSL_CA, CONF_SSL_CERT, CONF_SSL_KEY };
    const int n = sizeof keys / sizeof *keys;

    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++)
            if (*conf_str(c, keys[i]) && !*conf_str(c, keys[j]))
                return err_new(ERR_CONFIG, "%s: %s is set, but %s is not", conf_origin(c, keys[i]),
                               conf_def(keys[i])->name, conf_def(keys[j])->name);
    return NULL;
}

struct err *
submit__options_check(struct arena *a, struct submit_options *o)
{
    o->cluster_mode = !strcmp(conf_str(o->conf, CONF_DEPLOY_MODE), "cluster");
    TRY(tls(o->conf));
    if (o->action == SUBMIT_KILL || o->action == SUBMIT_STATUS) {
        if (o->master.kind != SUBMIT_STANDALONE)
            return err_hint(err_new(ERR_CONFIG, "%s needs a cluster, and the master is \"%s\"",
                                    o->action == SUBMIT_KILL ? "--kill" : "--status", conf_str(o->conf, CONF_MASTER)),
                            "Use --master taskd://HOST:PORT.");
        return NULL;
    }
    TRY(deploy(o));
    TRY(sizes(o));
    return files(a, o);
}
