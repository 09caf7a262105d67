/* value -- the types of conf.def: text to number, and its range. */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "conf/conf_priv.h"

struct unit {
    const char *name;
    int64_t factor;
};
static const struct unit sizes[] = {
    { "", 1 }, { "b", 1 }, { "k", INT64_C(1) << 10 }, { "m", INT64_C(1) << 20 }, { "g", INT64_C(1) << 30 },
    { "t", INT64_C(1) << 40 }, { "p", INT64_C(1) << 50 }, { "kb", INT64_C(1) << 10 }, { "mb", INT64_C(1) << 20 },
    { "gb", INT64_C(1) << 30 }, { "tb", INT64_C(1) << 40 }, { "pb", INT64_C(1) << 50 },
    { "kib", INT64_C(1) << 10 }, { "mib", INT64_C(1) << 20 }, { "gib", INT64_C(1) << 30 },
    { "tib", INT64_C(1) << 40 }, { "pib", INT64_C(1) << 50 }, { 0, 0 },
};
static const struct unit times[] = {
    { "us", 1000 }, { "ms", 1000000 }, { "s", INT64_C(1000000000) }, { "m", INT64_C(60000000000) },
    { "min", INT64_C(60000000000) }, { "h", INT64_C(3600000000000) }, { "d", INT64_C(86400000000000) }, { 0, 0 },
};

const char *
conf_type_name(enum conf_type type)
{
    static const char *const names[] = {
        [CONF_TYPE_STR] = "text",          [CONF_TYPE_INT] = "whole number",  [CONF_TYPE_BOOL] = "true or false",
        [CONF_TYPE_BYTES] = "size",        [CONF_TYPE_DURATION] = "duration", [CONF_TYPE_FRACTION] = "fraction",
        [CONF_TYPE_CHOICE] = "choice",
    };

    return names[type];
}

/* Digits and a unit; false if it is none or too large. */
static bool
with_unit(const char *s, const struct unit *units, int64_t *ret)
{
    int64_t v = 0;

    if (!isdigit((unsigned char)*s))
        return false;
    for (; isdigit((unsigned char)*s); s++)
        if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, *s - '0', &v))
            return false;
    for (const struct unit *u = units; u->name; u++)
        if (!strcasecmp(s, u->name))
            return !__builtin_mul_overflow(v, u->factor, ret);
    *ret = 0;
    return v == 0 && !*s; /* a bare 0 needs no unit */
}

static bool
whole(const char *s, int64_t max, int64_t *ret)
{
    char *end;

    if (max == INT64_MAX && !strcasecmp(s, "infinity")) {
        *ret = INT64_MAX;
        return true;
    }
    if (!isdigit((unsigned char)*s) && !(*s == '-' && isdigit((unsigned char)s[1])))
        return false;
    errno = 0;
    long long v = strtoll(s, &end, 10);
    *ret = v;
    return !*end && !errno;
}

/* Decimal digits with a point: no locale, no exponent, no "nan". */
static bool
fraction(const char *s, double *ret)
{
    double v = 0, place = 1;
    bool any = false;

    for (; isdigit((unsigned char)*s); s++, any = true)
        v = v * 10 + (*s - '0');
    if (*s == '.')
        for (s++; isdigit((unsigned char)*s); s++, any = true, place *= 10)
            v = v * 10 + (*s - '0');
    *ret = v / place;
    return any && !*s;
}

bool
conf__among(const char *list, const char *word)
{
    size_t n = strlen(word);

    for (const char *p = list; p; p = strchr(p, '|')) {
        p += *p == '|';
        if (n && !strncmp(p, word, n) && (p[n] == '|' || !p[n]))
            return true;
    }
    return false;
}

static struct err *
wrong_type(const struct conf_def *def, const char *name, const char *text)
{
    struct err *e;

    if (def->type == CONF_TYPE_CHOICE) {
        struct buf words = { 0 };

        for (const char *p = def->choices; *p; p++)
            buf_printf(&words, "%.*s", *p == '|' ? 2 : 1, *p == '|' ? ", " : p);
        e = err_new(ERR_CONFIG, "%s: \"%s\" is none of %s", name, text, words.p);
        buf_fini(&words);
        return e;
    }
    e = err_new(ERR_CONFIG, "%s: \"%s\" is not %s%s", name, text, def->type == CONF_TYPE_BOOL ? "" : "a ",
                conf_type_name(def->type));
    if (def->type == CONF_TYPE_BYTES)
        err_hint(e, "Write a whole number and a unit, such as 64k, 512m or 1g.");
    if (def->type == CONF_TYPE_DURATION)
        err_hint(e, "Write a whole number and a unit, such as 100ms, 2s or 5min.");
    if (def->type == CONF_TYPE_FRACTION)
        err_hint(e, "Write a number such as 0.6.");
    return e;
}

/* Numbers as a person would write them in the range's own unit. */
static struct err *
in_range(const struct conf_def *def, const char *name, const char *text, const struct conf__value *v)
{
    static const char *const units[] = { "", "k", "m", "g", "t" };
    int64_t lo = def->min, hi = def->max;
    int unit = 0;

    switch (def->type) {
    case CONF_TYPE_INT:
        if (v->u.i >= lo && v->u.i <= hi)
            return NULL;
        if (hi == INT64_MAX)
            return err_new(ERR_CONFIG, "%s: %s is less than %lld", name, text, (long long)lo);
        return err_new(ERR_CONFIG, "%s: %s is not between %lld and %lld", name, text, (long long)lo, (long long)hi);
    case CONF_TYPE_BYTES:
        if (v->u.i >= lo && v->u.i <= hi)
            return NULL;
        for (; unit < 4 && lo && lo % 1024 == 0; unit++)
            lo /= 1024;
        return err_hint(err_new(ERR_CONFIG, "%s: %s is less than %lld%s", name, text, (long long)lo, units[unit]),
                        "Sizes are bytes unless they have a unit, such as 512m or 1g.");
    case CONF_TYPE_DURATION:
        if (v->u.i / 1000000 >= lo && v->u.i / 1000000 <= hi)
            return NULL;
        return err_new(ERR_CONFIG, "%s: %s is not between %lldms and %lldms", name, text, (long long)lo, (long long)hi);
    case CONF_TYPE_FRACTION:
        if (v->u.f >= (double)lo / 1000 && v->u.f <= (double)hi / 1000)
            return NULL;
        return err_new(ERR_CONFIG, "%s: %s is not between %g and %g", name, text, (double)lo / 1000, (double)hi / 1000);
    default:
        return NULL;
    }
}

struct err *
conf__parse(const struct conf_def *def, const char *name, const char *text, struct conf__value *v)
{
    bool ok = true;

    switch (def->type) {
    case CONF_TYPE_STR:
        break;
    case CONF_TYPE_INT:
        ok = whole(text, def->max, &v->u.i);
        break;
    case CONF_TYPE_BOOL:
        v->u.i = !strcasecmp(text, "true");
        ok = v->u.i || !strcasecmp(text, "false");
        break;
    case CONF_TYPE_BYTES:
        ok = with_unit(text, sizes, &v->u.i);
        break;
    case CONF_TYPE_DURATION:
        ok = with_unit(text, times, &v->u.i);
        break;
    case CONF_TYPE_FRACTION:
        ok = fraction(text, &v->u.f);
        break;
    case CONF_TYPE_CHOICE:
        ok = conf__among(def->choices, text);
        break;
    }
    return ok ? in_range(def, name, text, v) : wrong_type(def, name, text);
}
