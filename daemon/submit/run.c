/* run -- one application from its module to its exit status, however it gets its executors: see submit_priv.h. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/exe.h"
#include "base/file.h"
#include "base/spread.h"
#include "submit/submit_priv.h"

/* What a runner may hold besides records: code, stacks, buffers, the author's own allocations. */
enum { RUNNER_SLACK = 64 << 20 };

const int submit_stops[SUBMIT_STOPS] = { SIGINT, SIGTERM, SIGHUP };

void
submit__tell(struct submit *s, const char *what, const struct err *e)
{
    char *text = err_text(e);

    submit__progress_clear(s);
    submit__say(s, "%s: %s\n", what, text);
    free(text);
}

static void
on_say(void *arg, int level, const char *file, uint32_t line, const char *text)
{
    struct submit *s = arg;

    if (level == TD_DEBUG && !s->o.verbose)
        return;
    if (s->o.progress == SUBMIT_PROGRESS_JSON) {
        submit__said(s, level, text);
        return;
    }
    submit__progress_clear(s);
    submit__say(s, "%s%s\n", level == TD_WARN ? "warning: " : level > TD_WARN ? "error: " : "", text);
    if (s->o.verbose && file[0])
        submit__say(s, "  (said at %s:%u)\n", file, line);
}

void
submit__failed(struct submit *s, const struct err *e)
{
    char *text;

    if (s->o.progress != SUBMIT_PROGRESS_JSON) {
        submit__tell(s, "error", e);
        return;
    }
    text = err_text(e);
    EMIT(&s->events, log_error, .message = "the application failed", .err = text);
    free(text);
}

static void
on_end(void *arg, int status, struct err *e)
{
    struct submit *s = arg;

    if (s->o.summary && s->driver)
        submit__sample(s); /* while all runners are there: a short job was never sampled before */
    s->status = status;
    s->state = status == 0 ? "SUCCEEDED" : e && e->code == ERR_CANCELLED ? "CANCELLED" : "FAILED";
    if (e && e->code != ERR_CANCELLED) /* else by who cancelled it */
        submit__failed(s, e);
    err_free(e);
    loop_stop(s->loop);
}

static void
on_signal(void *arg, int signo)
{
    struct submit *s = arg;
    const char *what = signo == SIGINT ? "interrupted: stopping" : signo == SIGHUP ? "hung up: stopping" :
                       "terminated: stopping";

    s->stopping = true;
    submit__progress_clear(s);
    if (s->o.progress == SUBMIT_PROGRESS_JSON)
        submit__said(s, TD_WARN, what);
    else
        submit__say(s, "%s\n", what);
    if (s->driver)
        driver_cancel(s->driver, 128 + signo);
    else
        on_end(s, 128 + signo, err_new(ERR_CANCELLED, "cancelled"));
}

/* ---- scratch */

/* A folder of our own in dir, which is absolute: the zygote is told its name first, so that no kill leaves it behind. */
static struct err *
own_folder(struct submit *s, const char *dir)
{
    char *path = arena_printf(&s->a, "%s/taskd-%u-%d-%llx", dir, (unsigned)getuid(), (int)getpid(),
                              (unsigned long long)clock_wall_ns());

    TRY(zygote_register(s->zygote, path, NULL));
    if (mkdir(path, 0700) == 0) {
        s->own[s->n_own++] = path;
        return NULL;
    }
    struct err *e = err_hint(err_errno(errno, "making scratch directory \"%s\"", path),
                             "Name another place with --conf taskd.local.dir=DIR.");
    err_free(zygote_unregister(s->zygote, path));
    return e;
}

/* In each folder that taskd.local.dir names; the first is scratch, the others are for executors of this host. */
static struct err *
scratch_make(struct submit *s)
{
    const char *list = conf_str(s->o.conf, CONF_LOCAL_DIR), *tmp = getenv("TMPDIR"), *dir;

    if (s->scratch) /* a worker's, who removes it, too */
        return NULL;
    if (!list[0]) {
        TRY(file_absolute(tmp && tmp[0] ? tmp : "/tmp", &s->a, &dir));
        TRY(own_folder(s, dir));
    }
    bool all = s->o.master.kind != SUBMIT_STANDALONE;
    while (all || !s->n_own) {
        TRY(spread_next(&list, &s->a, &dir));
        if (!dir)
            break;
        if (s->n_own > SPREAD_MAX)
            return err_new(ERR_CONFIG, "taskd.local.dir names more than %d folders", SPREAD_MAX + 1);
        TRY(own_folder(s, dir));
    }
    if (!s->n_own)
        return err_new(ERR_CONFIG, "taskd.local.dir \"%s\" names no folder", conf_str(s->o.conf, CONF_LOCAL_DIR));
    s->scratch = s->own[0];
    return NULL;
}

static void
scratch_remove(struct submit *s)
{
    while (s->n_own) {
        const char *path = s->own[--s->n_own];
        struct err *e = file_remove_tree(path);

        if (!e)
            e = zygote_unregister(s->zygote, path);
        err_free(e); /* what is still there is the zygote's to remove */
    }
}

void
submit__raise_descriptors(void)
{
    struct rlimit r;

    if (getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur < r.rlim_max) {
        r.rlim_cur = r.rlim_max;
        setrlimit(RLIMIT_NOFILE, &r);
    }
}

/* ---- run */

static void
settings(void *arg, struct driver_opts *o)
{
    const struct conf *c = ((struct submit *)arg)->o.conf;
    uint64_t memory = conf_bytes(c, CONF_EXECUTOR_MEMORY);
    const char *codec = conf_bool(c, CONF_SHUFFLE_COMPRESS) ? conf_str(c, CONF_COMPRESSION_CODEC) : "none";

    o->memory = (uint64_t)((double)memory * conf_fraction(c, CONF_MEMORY_FRACTION));
    o->data_limit = memory + RUNNER_SLACK;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    o->data_limit = 0; /* its shadow alone is terabytes of address space */
#endif
    o->parallelism = (uint32_t)conf_int(c, CONF_DEFAULT_PARALLELISM);
    o->split_bytes = conf_bytes(c, CONF_MAX_PARTITION_BYTES);
    o->max_failures = (uint32_t)conf_int(c, CONF_TASK_MAX_FAILURES);
    o->task_timeout_ns = conf_ns(c, CONF_TASK_TIMEOUT);
    o->codec = strcmp(codec, "none") ? codec : "";
}

struct err *
submit__driver(struct submit *s, const struct driver_opts *where)
{
    struct conf *c = s->o.conf;
    bool here = s->o.master.kind == SUBMIT_LOCAL; /* then main is one more runner */
    uint64_t main_memory = conf_bytes(c, here ? CONF_EXECUTOR_MEMORY : CONF_DRIVER_MEMORY);
    struct driver_opts o = *where;

    o.conf = c;
    o.settings = settings;
    settings(s, &o);
    o.main = (struct driver_main){
        .module_fd = s->module.fd,
        .module_name = s->module.info.name,
        .files = s->files, .libs = s->libs, .n_libs = s->n_libs,
        .symbolise = s->symbolise,
        .data_limit = main_memory + RUNNER_SLACK,
        .argc = s->o.n_args,
        .argv = s->o.args,
    };
    o.main.budget = here ? o.memory / s->o.slots : (uint64_t)((double)main_memory * conf_fraction(c, CONF_MEMORY_FRACTION));
    o.events = s->events.put ? &s->events : NULL;
    o.say = on_say;
    o.end = on_end;
    o.items = &s->items;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    o.main.data_limit = 0;
#endif
    return driver_new(s->loop, s->zygote, &o, &s->driver);
}

static struct err *
start(struct submit *s)
{
    const char *runner;

    TRY(exe_libexec(&s->a, "taskd-runner", &runner));
    err_free(exe_libexec(&s->a, "taskd-symbolise", &s->symbolise)); /* without it: numbers for names */
    TRY(zygote_start(runner, &s->zygote));
    TRY(scratch_make(s));
    TRY(submit__files(s));
    TRY(loop_new(&s->loop));
    for (size_t i = 0; i < SUBMIT_STOPS; i++)
        TRY(loop_signal(s->loop, submit_stops[i], on_signal, s));
    TRY(submit__listen(s));
    TRY(submit__events_open(s));
    if (getrandom(s->secret, sizeof s->secret, 0) != sizeof s->secret)
        return err_errno(errno, "making the application's secret");
    TRY(s->how->start(s));
    submit__progress_start(s);
    return NULL;
}

static struct err *
libraries(struct submit *s)
{
    s->along = ARENA_ARRAY(&s->a, struct module_info, s->o.n_files);
    for (size_t i = 0; i < s->o.n_files; i++) {
        const struct submit_file *f = &s->o.files[i];

        if (f->use == SUBMIT_LIBRARY)
            TRY(module_read_library(f->path, f->name, &s->a, &s->along[s->n_along++]));
    }
    return NULL;
}

static struct err *
module(struct submit *s)
{
    struct module_profile here;

    s->module.fd = -1;
    TRY(module_read(s->o.module, &s->a, &s->module));
    TRY(libraries(s));
    module_profile_host(&here);
    TRY(module_check_all(&s->module.info, s->along, s->n_along, &here));
    return module_list(&s->module.info, &s->a, &s->items);
}

static void
stop(struct submit *s)
{
    submit__progress_stop(s);
    s->how->stop(s);
    scratch_remove(s);
    zygote_stop(s->zygote);
    submit__events_close(s);
    loop_free(s->loop);
    module_fini(&s->module);
}

static void
print_conf(const struct submit *s)
{
    for (size_t i = 0; i < conf_count(s->o.conf); i++) {
        struct conf_item it = conf_item(s->o.conf, i);

        if (s->o.dry_run || strcmp(it.origin, "built-in"))
            submit__say(s, "  %s = %s  (%s)\n", it.name, it.value, it.origin);
    }
}

static void
print_what(const struct submit *s)
{
    submit__say(s, "application %s: %s", s->o.app_name, conf_str(s->o.conf, CONF_MASTER));
    if (s->o.master.kind == SUBMIT_LOCAL)
        submit__say(s, ", %u runner%s", s->o.slots, s->o.slots == 1 ? "" : "s");
    submit__say(s, ", module %s (sha256 %.16s...)\n", s->module.info.name, s->module.sha256_hex);
    print_conf(s);
}

int
submit__fail(struct submit *s, struct err *e)
{
    int status = err_code_exit(e->code);

    submit__tell(s, s->how->who, e);
    err_free(e);
    return status;
}

int
submit__run(struct submit *s)
{
    s->began = clock_mono_ns();
    struct err *e = submit__summary_open(s);
    if (!e)
        e = module(s);
    if (!e && (s->o.verbose || s->o.dry_run))
        print_what(s);
    if (!e && s->o.dry_run) {
        module_fini(&s->module);
        return 0;
    }
    if (!e)
        e = start(s);
    if (!e)
        e = loop_run(s->loop);
    if (e) {
        s->status = submit__fail(s, e);
        s->state = "FAILED";
    }
    if (s->driver) {
        driver_totals(s->driver, &s->totals);
        driver_accumulators(s->driver, &s->accumulators);
    }
    stop(s);
    if (s->summary_fd >= 0) {
        e = submit__summary(s);
        if (e) {
            int status = submit__fail(s, e);

            s->status = s->status ? s->status : status;
        }
    }
    if (s->stop_fd > 0)
        file_close(&s->stop_fd);
    return s->status;
}

int
submit__print(struct submit *s, enum submit_action action)
{
    struct err *e = NULL;
    struct buf b = { 0 };

    if (action == SUBMIT_HELP)
        submit_options_help(&b);
    else
        buf_printf(&b, "taskd %s, module ABI %d.%d\n", PACKAGE_VERSION, TD_ABI_MAJOR, TD_ABI_MINOR);
    if (fwrite(b.p, 1, b.n, stdout) != b.n || fflush(stdout) == EOF)
        e = err_errno(errno, "writing to standard output");
    buf_fini(&b);
    return e ? submit__fail(s, e) : 0;
}
