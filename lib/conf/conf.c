/* conf -- the table, setting and reading; see conf.h */
#include "conf/conf.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "conf/conf_priv.h"

static const struct conf_def defs[CONF_KEYS] = {
#define CONF(ID, name, type, def, min, max, choices, spark, state, who, flag, doc)                                  \
    [CONF_##ID] = { name, CONF_TYPE_##type, def,  min, max, choices, spark, CONF_STATE_##state, CONF_WHO_##who,     \
                    flag, doc },
#include "conf/conf.def"
#undef CONF
};

/* Bounds the walks below; a job with more keys should read a file of its own. */
enum { USER_KEYS_MAX = 4096 };

/* A key of the job's own. */
struct user_key {
    struct user_key *next;
    const char *name;
    struct conf__value v;
};

struct conf {
    struct arena arena;
    struct conf__value values[CONF_KEYS];
    struct user_key *user, **user_end;
    size_t n_user;
};

const struct conf_def *
conf_def(enum conf_key key)
{
    ASSERT(key < CONF_KEYS);
    return &defs[key];
}

enum conf_key
conf_key_of(const char *name)
{
    for (int i = 0; i < CONF_KEYS; i++)
        if (!strcmp(defs[i].name, name) || (defs[i].spark && !strcmp(defs[i].spark, name)))
            return (enum conf_key)i;
    return CONF_KEYS;
}

struct conf *
conf_new(void)
{
    struct conf *c = calloc(1, sizeof *c);

    if (!c)
        abort();
    c->user_end = &c->user;
    for (int i = 0; i < CONF_KEYS; i++) {
        struct conf__value *v = &c->values[i];
        struct err *e = conf__parse(&defs[i], defs[i].name, defs[i].def, v);

        ASSERT(!e);
        v->text = defs[i].def;
        v->origin = "built-in";
        v->layer = CONF_BUILT_IN;
    }
    return c;
}

void
conf_free(struct conf *c)
{
    if (c) {
        arena_fini(&c->arena);
        free(c);
    }
}

/* Keeps v in *to if no stronger layer has spoken. */
static void
keep(struct conf *c, struct conf__value *to, struct conf__value *v, enum conf_layer layer, const char *text,
     const char *origin)
{
    if (to->layer > layer)
        return;
    v->text = arena_strdup(&c->arena, text);
    v->origin = arena_strdup(&c->arena, origin);
    v->layer = layer;
    *to = *v;
}

static bool
ours(const char *name)
{
    return !strncmp(name, "taskd.", 6) || !strncmp(name, "spark.", 6);
}

static struct err *
unknown_key(const char *name)
{
    const char *names[CONF_KEYS], *near;
    size_t n = 0;

    for (int i = 0; i < CONF_KEYS; i++) {
        const char *candidate = strncmp(name, "spark.", 6) ? defs[i].name : defs[i].spark;

        if (candidate)
            names[n++] = candidate;
    }
    struct err *e = err_new(ERR_CONFIG, "no configuration key is named \"%s\"", name);
    if ((near = conf_nearest(name, names, n)))
        return err_hint(e, "Did you mean %s?", near);
    return err_hint(e, "`taskd config` lists all keys.");
}

struct err *
conf_check_name(const char *name)
{
    bool ours = !strncmp(name, "taskd.", 6) || !strncmp(name, "spark.", 6);

    return ours && conf_key_of(name) == CONF_KEYS ? unknown_key(name) : NULL;
}

/* A name that may be a key of the job's own: dotted words, and not one of ours without its prefix. */
static struct err *
check_user_name(const char *name)
{
    const char *p = name;

    while (isalnum((unsigned char)*p) || (*p && strchr("._-", *p)))
        p++;
    for (int i = 0; i < CONF_KEYS; i++)
        if (!strcmp(name, defs[i].name + strlen("taskd.")))
            return err_hint(err_new(ERR_CONFIG, "no configuration key is named \"%s\"", name), "Did you mean %s?",
                            defs[i].name);
    if (*p || !strchr(name, '.') || *name == '.' || p[-1] == '.')
        return err_hint(err_new(ERR_CONFIG, "\"%s\" is not a key", name),
                        "Keys begin with taskd. or are dotted words of the job's own, such as myjob.threshold.");
    return NULL;
}

static struct err *
set_user(struct conf *c, enum conf_layer layer, const char *name, const char *value, const char *origin)
{
    struct user_key *u;

    TRY(check_user_name(name));
    for (u = c->user; u && strcmp(u->name, name); u = u->next)
        continue;
    if (!u) {
        if (c->n_user == USER_KEYS_MAX)
            return err_new(ERR_CONFIG, "%s: there are more than %d keys of the job's own", name, USER_KEYS_MAX);
        u = ARENA_NEW(&c->arena, struct user_key);
        u->name = arena_strdup(&c->arena, name);
        *c->user_end = u;
        c->user_end = &u->next;
        c->n_user++;
    }
    keep(c, &u->v, &(struct conf__value){ 0 }, layer, value, origin);
    return NULL;
}

/* Whether the program may still set it, and whether the feature takes this value. */
static struct err *
check_allowed(const struct conf_def *d, enum conf_layer layer, const char *name, const char *value,
              const struct conf__value *v, const struct conf__value *built_in)
{
    bool same = d->type == CONF_TYPE_STR || d->type == CONF_TYPE_CHOICE ? !strcmp(value, d->def)
                                                                       : v->u.i == built_in->u.i;

    if (layer == CONF_PROGRAM && d->who == CONF_WHO_LAUNCHER) {
        struct err *e = err_new(ERR_CONFIG, "%s: only the launcher can set it, the program is too late", name);

        return d->flag ? err_hint(e, "Use %s on the command line.", d->flag)
                       : err_hint(e, "Use --conf %s=%s on the command line.", d->name, value);
    }
    if (d->state == CONF_STATE_BUILT || same)
        return NULL;
    if (d->state == CONF_STATE_ONLY && conf__among(d->choices, value))
        return NULL;
    if (d->state == CONF_STATE_ONLY)
        return err_new(ERR_CONFIG, "%s: \"%s\" is not possible, \"%s\" is the only behaviour", name, value, d->def);
    return err_hint(err_new(ERR_CONFIG, "%s: \"%s\" is not built yet", name, value),
                    "The only value it takes for now is %s.", d->def);
}

static struct err *
set(struct conf *c, enum conf_layer layer, const char *name, const char *value, const char *origin)
{
    enum conf_key key = conf_key_of(name);
    struct conf__value v = { 0 }, built_in = { 0 };

    if (key == CONF_KEYS)
        return ours(name) ? unknown_key(name) : set_user(c, layer, name, value, origin);
    const struct conf_def *d = &defs[key];
    TRY(conf__parse(d, name, value, &v));
    TRY(conf__parse(d, name, d->def, &built_in));
    TRY(check_allowed(d, layer, name, value, &v, &built_in));
    keep(c, &c->values[key], &v, layer, d->state == CONF_STATE_ONLY ? d->def : value, origin);
    return NULL;
}

struct err *
conf_set(struct conf *c, enum conf_layer layer, const char *name, const char *value, const char *origin)
{
    TRY_OR(set(c, layer, name, value, origin), "%s", origin);
    return NULL;
}

struct err *
conf_set_pair(struct conf *c, enum conf_layer layer, const char *pair, const char *origin)
{
    const char *eq = strchr(pair, '=');

    if (!eq || eq == pair)
        return err_hint(err_new(ERR_CONFIG, "%s: \"%s\" is not key=value", origin, pair),
                        "Write it like taskd.executor.memory=2g, without spaces around the =.");
    char *name = strndup(pair, (size_t)(eq - pair));
    if (!name)
        abort();
    struct err *e = conf_set(c, layer, name, eq + 1, origin);
    free(name);
    return e;
}

static const struct conf__value *
value_of(const struct conf *c, enum conf_key key, enum conf_type type)
{
    ASSERT(key < CONF_KEYS && defs[key].type == type);
    return &c->values[key];
}

const char *
conf_str(const struct conf *c, enum conf_key key)
{
    ASSERT(key < CONF_KEYS && (defs[key].type == CONF_TYPE_STR || defs[key].type == CONF_TYPE_CHOICE));
    return c->values[key].text;
}

int64_t
conf_int(const struct conf *c, enum conf_key key)
{
    return value_of(c, key, CONF_TYPE_INT)->u.i;
}

bool
conf_bool(const struct conf *c, enum conf_key key)
{
    return value_of(c, key, CONF_TYPE_BOOL)->u.i != 0;
}

uint64_t
conf_bytes(const struct conf *c, enum conf_key key)
{
    return (uint64_t)value_of(c, key, CONF_TYPE_BYTES)->u.i;
}

uint64_t
conf_ns(const struct conf *c, enum conf_key key)
{
    return (uint64_t)value_of(c, key, CONF_TYPE_DURATION)->u.i;
}

double
conf_fraction(const struct conf *c, enum conf_key key)
{
    return value_of(c, key, CONF_TYPE_FRACTION)->u.f;
}

const char *
conf_origin(const struct conf *c, enum conf_key key)
{
    ASSERT(key < CONF_KEYS);
    return c->values[key].origin;
}

enum conf_layer
conf_layer(const struct conf *c, enum conf_key key)
{
    ASSERT(key < CONF_KEYS);
    return c->values[key].layer;
}

const char *
conf_get(const struct conf *c, const char *name)
{
    enum conf_key key = conf_key_of(name);

    if (key != CONF_KEYS)
        return c->values[key].text;
    for (const struct user_key *u = c->user; u; u = u->next)
        if (!strcmp(u->name, name))
            return u->v.text;
    return NULL;
}

size_t
conf_count(const struct conf *c)
{
    return CONF_KEYS + c->n_user;
}

struct conf_item
conf_item(const struct conf *c, size_t i)
{
    const struct user_key *u = c->user;

    if (i < CONF_KEYS)
        return (struct conf_item){ defs[i].name, c->values[i].text, c->values[i].origin, &defs[i] };
    for (i -= CONF_KEYS; u && i; i--)
        u = u->next;
    ASSERT(u);
    return (struct conf_item){ u->name, u->v.text, u->v.origin, NULL };
}
