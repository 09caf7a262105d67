/* load -- the layers a process begins with: standard files, environment. */
#include <ctype.h>
#include <string.h>

#include "base/buf.h"
#include "conf/conf_priv.h"

#define SYSTEM_FILE "/etc/taskd/taskd.conf"

char *
conf_env_name(struct arena *a, enum conf_key key)
{
    const char *s = conf_def(key)->name;
    char *out = arena_alloc(a, 2 * strlen(s) + 1), *p = out;

    for (; *s; s++) {
        if (isupper((unsigned char)*s))
            *p++ = '_';
        *p++ = *s == '.' ? '_' : (char)toupper((unsigned char)*s);
    }
    *p = 0;
    return out;
}

static struct err *
set_variable(struct conf *c, const char *var, const char *const *names)
{
    const char *eq = strchr(var, '=');
    char name[128];

    if (!eq || (size_t)(eq - var) >= sizeof name)
        return NULL;
    memcpy(name, var, (size_t)(eq - var));
    name[eq - var] = 0;
    for (int i = 0; i < CONF_KEYS; i++)
        if (!strcmp(name, names[i]))
            return conf_set(c, CONF_ENVIRONMENT, conf_def((enum conf_key)i)->name, eq + 1, name);
    for (int i = 0; i < CONF_KEYS; i++)
        if (conf__distance(name, names[i]) <= 2)
            return err_hint(err_new(ERR_CONFIG, "no configuration key has the variable \"%s\"", name),
                            "Did you mean %s?", names[i]);
    return NULL;
}

struct err *
conf_set_env(struct conf *c, char *const *envp)
{
    struct arena a = { 0 };
    const char *names[CONF_KEYS];
    struct err *e = NULL;

    for (int i = 0; i < CONF_KEYS; i++)
        names[i] = conf_env_name(&a, (enum conf_key)i);
    for (; !e && envp && *envp; envp++)
        if (!strncmp(*envp, "TASKD_", 6))
            e = set_variable(c, *envp, names);
    arena_fini(&a);
    return e;
}

static const char *
variable(char *const *envp, const char *name)
{
    size_t n = strlen(name);

    for (; envp && *envp; envp++)
        if (!strncmp(*envp, name, n) && (*envp)[n] == '=')
            return *envp + n + 1;
    return NULL;
}

struct err *
conf_load(struct conf *c, const char *properties, char *const *envp)
{
    const char *xdg = variable(envp, "XDG_CONFIG_HOME"), *home = variable(envp, "HOME");
    struct buf path = { 0 };
    struct err *e = conf_set_file(c, CONF_SYSTEM_FILE, SYSTEM_FILE, true);

    if (xdg && *xdg)
        buf_printf(&path, "%s/taskd/taskd.conf", xdg);
    else if (home && *home)
        buf_printf(&path, "%s/.config/taskd/taskd.conf", home);
    if (!e && path.n)
        e = conf_set_file(c, CONF_USER_FILE, path.p, true);
    if (!e && properties)
        e = conf_set_file(c, CONF_PROPERTIES, properties, false);
    if (!e)
        e = conf_set_env(c, envp);
    buf_fini(&path);
    return e;
}
