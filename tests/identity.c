/* Tests of daemon/common/identity: which files a process shows itself by, and who may read them. */
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <netinet/in.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "common/host.h"
#include "common/identity.h"
#include "unit.h"

static char dir[64];

static void
begin(void)
{
    strcpy(dir, "/tmp/taskd-identity-XXXXXX");
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(dir));
    setenv("HOME", dir, 1);
    unsetenv("XDG_CONFIG_HOME");
}

static void
end(void)
{
    NO_ERR(file_remove_tree(dir));
}

static char *
put(const char *name, const char *text, mode_t mode)
{
    static char path[256], folder[256];
    int fd;

    snprintf(path, sizeof path, "%s/%s", dir, name);
    strcpy(folder, path);
    *strrchr(folder, '/') = 0;
    NO_ERR(file_mkdirs(folder, 0700));
    CU_ASSERT_FATAL((fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, mode)) >= 0);
    NO_ERR(file_write_full(fd, text, strlen(text), path));
    CU_ASSERT(fchmod(fd, mode) == 0);
    close(fd);
    return path;
}

static struct err *
with(const char *key, const char *value, bool make, struct arena *a, struct identity *id)
{
    struct conf *c = conf_new();
    struct err *e = key ? conf_set(c, CONF_FLAG, key, value, "t") : NULL;

    if (!e)
        e = make ? identity_make(c, a, id) : identity_load(c, a, id);
    conf_free(c);
    return e;
}

/* Without certificates the processes of one user know each other by a token that the first of them makes. */
static void
the_first_one_makes_a_token(void)
{
    struct arena a = { 0 };
    struct identity id, again;

    begin();
    NO_ERR(with(NULL, NULL, false, &a, &id));
    EQ_U64(id.token_n, 64);
    CU_ASSERT_PTR_NOT_NULL(strstr(id.token_file, "/.config/taskd/token"));
    NO_ERR(with(NULL, NULL, true, &a, &again));
    CU_ASSERT(identity_token_fits(&id, again.token, again.token_n) && !identity_token_fits(&id, "", 0));
    arena_fini(&a);
    end();
}

/* Where none can be made, who only asks has none; a master says why it can't. */
static void
a_home_that_is_none(void)
{
    struct arena a = { 0 };
    struct identity id;

    begin();
    setenv("HOME", put("file", "x", 0600), 1);
    NO_ERR(with(NULL, NULL, false, &a, &id));
    CU_ASSERT_PTR_NULL(id.token);
    IS_ERR(with(NULL, NULL, true, &a, &id), ERR_IO, "Not a directory");
    arena_fini(&a);
    end();
}

static void
with_certificates_there_need_be_none(void)
{
    struct arena a = { 0 };
    struct identity id;

    begin();
    put(".config/taskd/tls/ca.pem", "x", 0600);
    put(".config/taskd/tls/node.pem", "x", 0600);
    put(".config/taskd/tls/node.key", "x", 0600);
    NO_ERR(with(NULL, NULL, false, &a, &id));
    CU_ASSERT(id.tls && !id.token && !identity_token_fits(&id, "", 0));
    /* one of a cluster that was tried out here is not shown to another master: the certificate is enough */
    put(".config/taskd/token", "0123456789abcdef", 0600);
    NO_ERR(with(NULL, NULL, false, &a, &id));
    CU_ASSERT(id.tls && !id.token);
    NO_ERR(with("taskd.authenticate.secretFile", put("t", "fedcba9876543210", 0600), false, &a, &id));
    CU_ASSERT(id.tls && identity_token_fits(&id, "fedcba9876543210", 16));
    arena_fini(&a);
    end();
}

static void
a_master_makes_a_token_once(void)
{
    struct arena a = { 0 };
    struct identity one, two;
    struct stat st;

    begin();
    NO_ERR(with(NULL, NULL, true, &a, &one));
    EQ_U64(one.token_n, 64);
    CU_ASSERT(stat(one.token_file, &st) == 0 && (st.st_mode & 07777) == 0600 && st.st_size == 65);
    NO_ERR(with(NULL, NULL, true, &a, &two));
    CU_ASSERT(identity_token_fits(&one, two.token, two.token_n));
    NO_ERR(with(NULL, NULL, false, &a, &two));
    CU_ASSERT(identity_token_fits(&one, two.token, two.token_n));
    CU_ASSERT(!identity_token_fits(&one, two.token, two.token_n - 1));
    CU_ASSERT(!identity_token_fits(&one, one.token_file, one.token_n));
    setenv("XDG_CONFIG_HOME", dir, 1);
    NO_ERR(with(NULL, NULL, false, &a, &two));
    CU_ASSERT(!strncmp(two.token_file, dir, strlen(dir)) && !strcmp(two.token_file + strlen(dir), "/taskd/token"));
    CU_ASSERT(!identity_token_fits(&one, two.token, two.token_n));
    arena_fini(&a);
    end();
}

static void
named_files_count(void)
{
    struct arena a = { 0 };
    struct identity id;

    begin();
    put(".config/taskd/token", "0123456789abcdef", 0600);
    NO_ERR(with("taskd.authenticate.secretFile", put("t", "fedcba9876543210\r\n", 0600), false, &a, &id));
    EQ_U64(id.token_n, 16);
    CU_ASSERT(identity_token_fits(&id, "fedcba9876543210", 16));
    IS_ERR(with("taskd.authenticate.secretFile", "/nowhere/t", false, &a, &id), ERR_CONFIG,
           "opening the token file \"/nowhere/t\": No such file");
    IS_ERR(with("taskd.authenticate.secretFile", dir, false, &a, &id), ERR_CONFIG, "is not a file");
    IS_ERR(with("taskd.authenticate.secretFile", put("t", "0123456789abcdef", 0640), false, &a, &id), ERR_CONFIG,
           "may be read by others (mode 0640)\nhint: Run chmod 600 on it.");
    IS_ERR(with("taskd.authenticate.secretFile", put("u", "short", 0600), true, &a, &id), ERR_CONFIG,
           "has not between 16 and 4096 bytes");
    arena_fini(&a);
    end();
}

static void
tls_files_have_a_place(void)
{
    struct conf *c = conf_new();
    struct arena a = { 0 };
    struct identity id;

    begin();
    put(".config/taskd/tls/ca.pem", "x", 0600);
    put(".config/taskd/tls/node.pem", "x", 0600);
    NO_ERR(with(NULL, NULL, false, &a, &id));
    CU_ASSERT(!id.tls || !strncmp(id.tls->ca, "/etc/", 5)); /* the key is missing */
    put(".config/taskd/tls/node.key", "x", 0600);
    NO_ERR(with(NULL, NULL, false, &a, &id));
    CU_ASSERT_PTR_NOT_NULL_FATAL(id.tls);
    CU_ASSERT_PTR_NOT_NULL(strstr(id.tls->key, "/.config/taskd/tls/node.key"));
    NO_ERR(conf_set(c, CONF_FLAG, "taskd.ssl.ca", "a", "t"));
    NO_ERR(conf_set(c, CONF_FLAG, "taskd.ssl.cert", "b", "t"));
    NO_ERR(conf_set(c, CONF_FLAG, "taskd.ssl.key", "c", "t"));
    NO_ERR(identity_load(c, &a, &id));
    EQ_STR(id.tls->ca, "a");
    EQ_STR(id.tls->cert, "b");
    EQ_STR(id.tls->key, "c");
    conf_free(c);
    arena_fini(&a);
    end();
}

/* Many masters at once: whoever is second takes the first one's token. */
static void
two_masters_agree(void)
{
    enum { N = 8 };
    struct arena a = { 0 };
    struct identity id, mine;
    int status, p[2];

    begin();
    CU_ASSERT_FATAL(pipe(p) == 0);
    for (int i = 0; i < N; i++)
        if (fork() == 0) {
            struct err *e = with(NULL, NULL, true, &a, &mine);

            _exit(e || write(p[1], mine.token, mine.token_n) != 64);
        }
    for (int i = 0; i < N; i++)
        CU_ASSERT(wait(&status) > 0 && status == 0);
    NO_ERR(with(NULL, NULL, false, &a, &id));
    for (int i = 0; i < N; i++) {
        char token[64];

        EQ_U64(read(p[0], token, sizeof token), 64);
        CU_ASSERT(identity_token_fits(&id, token, sizeof token));
    }
    close(p[0]);
    close(p[1]);
    arena_fini(&a);
    end();
}

/* Addresses and "localhost" are meant as they are said; a name that is loopback here only is warned of. */
static void
names_that_lead_nowhere(void)
{
    static const char *const fine[] = { "127.0.0.1", "::1", "localhost", "10.0.0.1", "0.0.0.0", "no.such.name.invalid" };
    struct addrinfo *found = NULL;
    char name[256];

    for (size_t i = 0; i < sizeof fine / sizeof *fine; i++)
        NO_ERR(host_check(fine[i]));
    if (gethostname(name, sizeof name) || getaddrinfo(name, NULL, NULL, &found))
        return; /* a host without a name */
    bool here = found->ai_family == AF_INET &&
                *(const unsigned char *)&((struct sockaddr_in *)(void *)found->ai_addr)->sin_addr == 127;
    if (here)
        IS_ERR(host_check(name), ERR_CONFIG, "where no other host gets to\nhint: Name this host's address with --host");
    freeaddrinfo(found);
}

static const struct unit_test tests[] = {
    { "identity.the_first_one_makes_a_token", the_first_one_makes_a_token },
    { "identity.a_home_that_is_none", a_home_that_is_none },
    { "identity.with_certificates_there_need_be_none", with_certificates_there_need_be_none },
    { "identity.a_master_makes_a_token_once", a_master_makes_a_token_once },
    { "identity.named_files_count", named_files_count },
    { "identity.tls_files_have_a_place", tls_files_have_a_place },
    { "identity.two_masters_agree", two_masters_agree },
    { "identity.names_that_lead_nowhere", names_that_lead_nowhere },
    UNIT_END,
};

int
main(int argc, char **argv)
{
    return unit_main(argc, argv, "identity", tests);
}
