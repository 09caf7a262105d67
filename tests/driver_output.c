/* Directories of results: what a driver makes, what an earlier try of the same submission has made, and what is somebody
 * else's.  Drivers here have a janitor each and no job: the test begins, accepts and ends. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "driver/driver_priv.h"
#include "executor/names.h"
#include "unit.h"

#define ID "driver-20260101000000-0001"
enum { PATH_BYTES = 256, LIST_BYTES = 2000 };

struct side { /* a driver */
    struct driver *d;
    struct zygote *z;
    struct output o;
};
static struct {
    struct loop *loop;
    struct conf *conf;
    char dir[32], out[64];
    unsigned told;
    struct side a, b;
} w;

static void
on_say(void *arg, int level, const char *file, uint32_t line, const char *text)
{
    w.told++;
}

static void
on_end(void *arg, int status, struct err *e)
{
    err_free(e);
}

/* submission NULL: client mode. */
static void
side_open(struct side *s, const char *submission, uint32_t try)
{
    struct driver_opts o = { .host = "here", .dir = "/nowhere", .bulk = "", .scratch = "", .memory = 1 << 20, .say = on_say,
                             .end = on_end, .conf = w.conf, .submission = submission, .try = try };
    const char *top = getenv("top_builddir");
    char path[4096];

    snprintf(path, sizeof path, "%s/taskd-runner", top ? top : ".");
    memset(s, 0, sizeof *s);
    NO_ERR(zygote_start(path, &s->z));
    NO_ERR(driver_new(w.loop, s->z, &o, &s->d));
}

/* Its janitor removes what is still registered, as after kill -9. */
static void
side_die(struct side *s)
{
    zygote_stop(s->z);
    driver_free(s->d);
    memset(s, 0, sizeof *s);
}

static void
begin(void)
{
    memset(&w, 0, sizeof w);
    strcpy(w.dir, "/tmp/taskd-test-XXXXXX");
    CU_ASSERT_FATAL(mkdtemp(w.dir) != NULL);
    snprintf(w.out, sizeof w.out, "%s/out", w.dir);
    w.conf = conf_new();
    NO_ERR(loop_new(&w.loop));
}

static void
end(void)
{
    struct side *all[] = { &w.a, &w.b };

    for (int i = 0; i < 2; i++)
        if (all[i]->d)
            side_die(all[i]);
    loop_free(w.loop);
    conf_free(w.conf);
    NO_ERR(file_remove_tree(w.dir));
}

static struct err *
output_begin(struct side *s)
{
    struct plan_action a = { .act = PLAN_SAVE_TEXT, .file = "job.c", .line = 7, .path = w.out };

    return driver__output_begin(s->d, &a, &s->o);
}

/* ---- files */

static const char *
in(const char *dir, const char *name)
{
    static char path[4][PATH_BYTES];
    static int i;

    snprintf(path[i = (i + 1) % 4], PATH_BYTES, "%s/%s", dir, name);
    return path[i];
}

static void
put_file(const char *path, const char *text)
{
    int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0600);

    CU_ASSERT_FATAL(fd >= 0);
    NO_ERR(file_write_full(fd, text, strlen(text), path));
    close(fd);
}

static int
by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* "name=bytes name2/ ..." of all in a directory, sorted; not below. */
static const char *
list(const char *dir)
{
    static char text[LIST_BYTES];
    char *names[64];
    int n = 0;
    DIR *d = opendir(dir);

    text[0] = 0;
    if (!d)
        return "none";
    for (struct dirent *f; (f = readdir(d));)
        if (strcmp(f->d_name, ".") && strcmp(f->d_name, "..") && n < 64)
            names[n++] = strdup(f->d_name);
    closedir(d);
    qsort(names, (size_t)n, sizeof *names, by_name);
    for (int i = 0; i < n; i++) {
        struct buf b = { 0 };
        struct stat st;
        size_t at = strlen(text);

        lstat(in(dir, names[i]), &st);
        if (S_ISREG(st.st_mode))
            NO_ERR(file_slurp(in(dir, names[i]), 1000, &b));
        snprintf(text + at, sizeof text - at, "%s%s%s%.*s", i ? " " : "", names[i], S_ISDIR(st.st_mode) ? "/" : "=", (int)b.n,
                 b.n ? b.p : "");
        buf_fini(&b);
        free(names[i]);
    }
    return text;
}

/* Attempt 0 of a partition of stage 0. */
static void
attempt(const struct output *o, uint32_t partition, const char *text)
{
    struct buf b = { 0 };

    names_part(&b, o->tmp, o->suffix, 0, partition, 0);
    put_file(b.p, text);
    buf_fini(&b);
}

static void
part(struct side *s, uint32_t partition, const char *text)
{
    attempt(&s->o, partition, text);
    NO_ERR(driver__output_accept(s->d, &s->o, 0, partition, 0));
}

/* ---- tests */

static void
without_submission(void)
{
    begin();
    side_open(&w.a, NULL, 0);
    NO_ERR(output_begin(&w.a));
    EQ_STR(list(w.out), "_temporary/");
    part(&w.a, 0, "x\n");
    NO_ERR(driver__output_end(w.a.d, &w.a.o, true));
    EQ_STR(list(w.out), "_SUCCESS= part-00000=x\n");
    IS_ERR(output_begin(&w.a), ERR_DENIED, "job.c:7: output");
    EQ_STR(list(w.out), "_SUCCESS= part-00000=x\n");
    NO_ERR(file_remove_tree(w.out));
    NO_ERR(output_begin(&w.a));
    part(&w.a, 0, "x\n");
    NO_ERR(driver__output_end(w.a.d, &w.a.o, false));
    EQ_STR(list(w.dir), "");
    end();
}

static void
marked(void)
{
    begin();
    side_open(&w.a, ID, 3);
    NO_ERR(output_begin(&w.a));
    EQ_STR(list(w.out), "_temporary." ID ".3/");
    part(&w.a, 0, "x\n");
    attempt(&w.a.o, 1, "not accepted\n");
    NO_ERR(driver__output_end(w.a.d, &w.a.o, true));
    EQ_STR(list(w.out), "_SUCCESS=" ID ".3\n part-00000=x\n");
    IS_ERR(output_begin(&w.a), ERR_DENIED, "exists already"); /* the same try */
    EQ_STR(list(w.out), "_SUCCESS=" ID ".3\n part-00000=x\n");
    NO_ERR(file_remove_tree(w.out));
    NO_ERR(output_begin(&w.a));
    part(&w.a, 0, "x\n");
    NO_ERR(driver__output_end(w.a.d, &w.a.o, false));
    EQ_STR(list(w.dir), "");
    EQ_U64(w.told, 0);
    end();
}

/* a was cut off in the middle, b begins, a comes back. */
static void
taken_over(void)
{
    begin();
    side_open(&w.a, ID, 0);
    side_open(&w.b, ID, 2);
    NO_ERR(output_begin(&w.a));
    part(&w.a, 0, "old\n");
    attempt(&w.a.o, 1, "old\n");
    NO_ERR(output_begin(&w.b));
    EQ_U64(w.told, 1);
    EQ_STR(list(w.dir), "out/");
    EQ_STR(list(w.out), "_temporary." ID ".2/");
    IS_ERR(driver__output_accept(w.a.d, &w.a.o, 0, 1, 0), ERR_IO, "is not of this try any more");
    driver__output_discard(&w.a.o, 0, 1, 0);
    part(&w.b, 0, "new\n");
    struct output failed = w.a.o;
    NO_ERR(driver__output_end(w.a.d, &failed, false));
    EQ_STR(list(w.out), "_temporary." ID ".2/ part-00000=new\n");
    IS_ERR(driver__output_end(w.a.d, &w.a.o, true), ERR_IO, "is not of this try any more");
    IS_ERR(output_begin(&w.a), ERR_DENIED, "exists already");
    EQ_STR(list(w.out), "_temporary." ID ".2/ part-00000=new\n");
    NO_ERR(driver__output_end(w.b.d, &w.b.o, true));
    IS_ERR(output_begin(&w.a), ERR_DENIED, "exists already");
    EQ_STR(list(w.out), "_SUCCESS=" ID ".2\n part-00000=new\n");
    EQ_STR(list(w.dir), "out/");
    end();
}

/* a finished this output and died in a later action. */
static void
taken_over_finished(void)
{
    begin();
    side_open(&w.a, ID, 9);
    side_open(&w.b, ID, 10);
    NO_ERR(output_begin(&w.a));
    part(&w.a, 0, "old\n");
    part(&w.a, 1, "old\n");
    NO_ERR(driver__output_end(w.a.d, &w.a.o, true));
    side_die(&w.a);
    EQ_STR(list(w.out), "_SUCCESS=" ID ".9\n part-00000=old\n part-00001=old\n");
    NO_ERR(output_begin(&w.b));
    EQ_STR(list(w.out), "_temporary." ID ".10/");
    part(&w.b, 0, "new\n");
    NO_ERR(driver__output_end(w.b.d, &w.b.o, true));
    EQ_STR(list(w.out), "_SUCCESS=" ID ".10\n part-00000=new\n");
    EQ_STR(list(w.dir), "out/");
    end();
}

/* ... and one that died between two steps of finishing, or of making an output of it again. */
static void
taken_over_between(void)
{
    begin();
    side_open(&w.b, ID, 1);
    mkdir(w.out, 0700);
    mkdir(in(w.out, "_temporary." ID ".0"), 0700);
    put_file(in(w.out, "_temporary." ID ".0/s0-part-00000.0"), "old\n");
    put_file(in(w.out, "_SUCCESS"), ID ".0\n");
    put_file(in(w.out, "part-00000"), "old\n");
    NO_ERR(output_begin(&w.b));
    EQ_STR(list(w.out), "_temporary." ID ".1/");
    NO_ERR(driver__output_end(w.b.d, &w.b.o, false));
    EQ_STR(list(w.dir), "");
    mkdir(w.out, 0700);
    put_file(in(w.out, "_temporary." ID ".0"), ID ".0\n");
    mkdir(in(w.dir, "out._temporary." ID ".0~"), 0700); /* of one that was killed while it removed */
    put_file(in(w.dir, "out._temporary." ID ".0~/part-00000"), "old\n");
    NO_ERR(output_begin(&w.b));
    EQ_STR(list(w.out), "_temporary." ID ".1/");
    EQ_STR(list(w.dir), "out/");
    NO_ERR(driver__output_end(w.b.d, &w.b.o, false));
    mkdir(in(w.dir, "out._temporary." ID ".0~"), 0700); /* of one that was killed while it made it */
    mkdir(in(w.dir, "out._temporary." ID ".0~/_temporary." ID ".0"), 0700);
    mkdir(in(w.dir, "out._temporary." ID ".0~~"), 0700); /* and of one that was about to remove such a one */
    mkdir(in(w.dir, "out._temporary." ID ".1~"), 0700); /* of its own, which it could not remove */
    mkdir(in(w.dir, "out._temporary." ID ".2~"), 0700); /* not of an earlier try */
    NO_ERR(output_begin(&w.b));
    EQ_STR(list(w.out), "_temporary." ID ".1/");
    EQ_STR(list(w.dir), "out/ out._temporary." ID ".2~/");
    end();
}

/* Nothing in it changes. */
static void
refused(struct side *s)
{
    char before[LIST_BYTES], all[LIST_BYTES];

    strcpy(before, list(w.out));
    strcpy(all, list(w.dir));
    IS_ERR(output_begin(s), ERR_DENIED, "exists already");
    NO_ERR(driver__output_end(s->d, &s->o, false));
    EQ_STR(list(w.out), before);
    EQ_STR(list(w.dir), all);
}

static void
foreign(void)
{
    static const struct { const char *name, *text; } one[] = { /* text NULL: a directory */
        { "part-00000", "x" },
        { "_SUCCESS", "" },
        { "_SUCCESS", ID ".0" },
        { "_SUCCESS", ID ".0\n\n" },
        { "_SUCCESS", ID ".\n" },
        { "_SUCCESS", ID ".-1\n" },
        { "_SUCCESS", ID "\n" },
        { "_SUCCESS", ID ".0.0\n" },
        { "_SUCCESS", ID ".5\n" },
        { "_SUCCESS", ID ".6\n" },
        { "_SUCCESS", ID ".99999999999999999999999\n" },
        { "_SUCCESS", ID "0.0\n" },
        { "_SUCCESS", "driver-20260101000000-000.0\n" },
        { "_SUCCESS", NULL },
        { "_temporary", NULL },
        { "_temporary." ID ".5", NULL },
        { "_temporary." ID ".6", NULL },
        { "_temporary." ID "0.0", NULL },
        { "_temporary." ID ".0.0", NULL },
        { "_temporary." ID ".0~", NULL },
        { "_temporary." ID ".", NULL },
        { "_temporary.driver-20260101000000-0002.0", NULL },
    };

    begin();
    side_open(&w.a, ID, 5);
    mkdir(w.out, 0700);
    refused(&w.a); /* empty */
    for (unsigned i = 0; i < sizeof one / sizeof *one; i++) {
        if (one[i].text)
            put_file(in(w.out, one[i].name), one[i].text);
        else
            mkdir(in(w.out, one[i].name), 0700);
        refused(&w.a);
        NO_ERR(file_remove_tree(in(w.out, one[i].name)));
    }
    CU_ASSERT(mkfifo(in(w.out, "_SUCCESS"), 0600) == 0); /* to be looked at, not to be waited for */
    refused(&w.a);
    rename(w.out, in(w.dir, "far"));
    unlink(in(w.dir, "far/_SUCCESS"));
    mkdir(in(w.dir, "far/_temporary." ID ".0"), 0700);
    CU_ASSERT(symlink("far", w.out) == 0);
    refused(&w.a); /* no try makes a link */
    unlink(w.out);
    rename(in(w.dir, "far"), w.out);
    side_open(&w.b, NULL, 0);
    refused(&w.b); /* client mode */
    EQ_STR(list(w.out), "_temporary." ID ".0/");
    EQ_U64(w.told, 0);
    NO_ERR(output_begin(&w.a));
    end();
}

/* The janitor of a dead driver removes what that has begun, and not what a later one has begun anew, finished or not. */
static void
janitors(void)
{
    begin();
    side_open(&w.a, ID, 0);
    NO_ERR(output_begin(&w.a));
    part(&w.a, 0, "old\n");
    w.a.o.made = false;
    side_die(&w.a);
    EQ_STR(list(w.dir), "");
    side_open(&w.a, ID, 0);
    side_open(&w.b, ID, 1);
    NO_ERR(output_begin(&w.a));
    NO_ERR(output_begin(&w.b));
    part(&w.b, 0, "new\n");
    side_die(&w.a);
    EQ_STR(list(w.out), "_temporary." ID ".1/ part-00000=new\n");
    side_open(&w.a, ID, 0);
    NO_ERR(zygote_register(w.a.z, w.out, "_temporary." ID ".0"));
    NO_ERR(driver__output_end(w.b.d, &w.b.o, true));
    side_die(&w.a);
    EQ_STR(list(w.out), "_SUCCESS=" ID ".1\n part-00000=new\n");
    EQ_STR(list(w.dir), "out/");
    end();
}

/* A whole output by one try in a process of its own; whether it believes that it has finished. */
static bool
whole_try(uint32_t try)
{
    char text[16];
    struct err *e = NULL;

    snprintf(text, sizeof text, "%u\n", try);
    side_open(&w.a, ID, try);
    for (int i = 0; i < 1000; i++) { /* the master would start it again */
        err_free(e);
        if (!(e = output_begin(&w.a)))
            break;
    }
    for (uint32_t p = 0; !e && p < 3; p++) {
        struct buf b = { 0 };

        names_part(&b, w.a.o.tmp, "", 0, p, 0);
        int fd = open(b.p, O_CREAT | O_WRONLY | O_EXCL, 0600);
        if (fd < 0 || write(fd, text, strlen(text)) < 0)
            e = err_errno(errno, "writing");
        file_close(&fd);
        buf_fini(&b);
        if (!e)
            e = driver__output_accept(w.a.d, &w.a.o, 0, p, 0);
    }
    if (e)
        err_free(driver__output_end(w.a.d, &w.a.o, false));
    else
        e = driver__output_end(w.a.d, &w.a.o, true);
    bool ok = !e;
    err_free(e);
    side_die(&w.a);
    return ok;
}

/* Many tries at once, none of which knows that it is over: what is there in the end is of one alone, and whole. */
static void
at_once(void)
{
    begin();
    for (unsigned round = 0; round < 10; round++) {
        enum { TRIES = 6 };
        unsigned finished = 0;
        char want[200];

        fflush(NULL);
        for (uint32_t k = 0; k < TRIES; k++) {
            pid_t pid = fork();

            CU_ASSERT_FATAL(pid >= 0);
            if (pid == 0)
                _exit(whole_try((k + round) % TRIES));
        }
        for (int k = 0; k < TRIES; k++) {
            int status;

            CU_ASSERT(wait(&status) > 0 && WIFEXITED(status));
            finished += WEXITSTATUS(status) == 1;
        }
        CU_ASSERT(finished >= 1);
        EQ_STR(list(w.dir), "out/");
        const char *got = list(w.out);
        char k = strlen(got) > strlen("_SUCCESS=" ID ".") ? got[strlen("_SUCCESS=" ID ".")] : '?';
        snprintf(want, sizeof want, "_SUCCESS=" ID ".%c\n part-00000=%c\n part-00001=%c\n part-00002=%c\n", k, k, k, k);
        EQ_STR(got, want);
        NO_ERR(file_remove_tree(w.out));
    }
    end();
}

static const struct unit_test tests[] = {
    { "output.without_submission", without_submission },
    { "output.marked", marked },
    { "output.taken_over", taken_over },
    { "output.taken_over_finished", taken_over_finished },
    { "output.taken_over_between", taken_over_between },
    { "output.foreign", foreign },
    { "output.janitors", janitors },
    { "output.at_once", at_once },
    UNIT_END
};

int
main(int argc, char **argv)
{
    return unit_main(argc, argv, "driver_output", tests);
}
