/*
 * conf -- the typed configuration keys, their values and where each value came from.
 *
 * Layers, weakest first: built-in, /etc/taskd/taskd.conf, ~/.config/taskd/taskd.conf, --properties-file,
 * TASKD_* environment, flags and --conf, the program (td_conf_set).  Each value keeps its layer, so layers
 * may be loaded in any order; within a layer the last one wins.  A value is checked when it is set, even
 * if a stronger layer hides it.
 *
 * Keys beginning with "taskd." or "spark." are ours and must be in conf.def; every other dotted name
 * ("myjob.threshold") belongs to the job and takes any text.
 *
 * Owner: the process's wiring (daemon/...), which hands plain option structs down.  Strings given out live
 * as long as the conf.  Threads: one at a time.
 * Errors: ERR_CONFIG, "origin: key: what is wrong"; ERR_IO for a file that can't be read.
 */
#ifndef CONF_CONF_H
#define CONF_CONF_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"

enum conf_key {
#define CONF(ID, ...) CONF_##ID,
#include "conf/conf.def"
#undef CONF
    CONF_KEYS
};
enum conf_type {
    CONF_TYPE_STR, CONF_TYPE_INT, CONF_TYPE_BOOL, CONF_TYPE_BYTES, CONF_TYPE_DURATION, CONF_TYPE_FRACTION,
    CONF_TYPE_CHOICE,
};
enum conf_state { CONF_STATE_BUILT, CONF_STATE_ONLY, CONF_STATE_NOT_YET };
enum conf_who { CONF_WHO_ANY, CONF_WHO_LAUNCHER };
enum conf_layer {
    CONF_BUILT_IN, CONF_SYSTEM_FILE, CONF_USER_FILE, CONF_PROPERTIES, CONF_ENVIRONMENT, CONF_FLAG, CONF_PROGRAM,
};

/* One row of conf.def; see there. */
struct conf_def {
    const char *name;
    enum conf_type type;
    const char *def;
    int64_t min, max;
    const char *choices, *spark;
    enum conf_state state;
    enum conf_who who;
    const char *flag, *doc;
};
const struct conf_def *conf_def(enum conf_key key);
const char *conf_type_name(enum conf_type type); /* "size", "duration" ... */
/* The key with that name or Spark name; CONF_KEYS if there is none. */
enum conf_key conf_key_of(const char *name);
/* The key's name in the environment, "TASKD_TASK_MAX_FAILURES". */
char *conf_env_name(struct arena *a, enum conf_key key);

struct conf;
/* All keys at their built-in values. */
struct conf *conf_new(void) MUST_USE;
void conf_free(struct conf *c);

/* Checks and sets one key by any of its names.  origin says where it was written ("--conf", "my.conf:3");
 * it begins the sentence of an error and is what conf_item gives out. */
struct err *conf_set(struct conf *c, enum conf_layer layer, const char *name, const char *value, const char *origin)
    MUST_USE;
/* "key=value", as --conf takes it. */
struct err *conf_set_pair(struct conf *c, enum conf_layer layer, const char *pair, const char *origin) MUST_USE;
/* Text in Spark's properties format: "key value", "key=value" or "key: value" lines, comments after # or !
 * at the start of a line, \ at its end joins the next.  The origin of a value is "file:line". */
struct err *conf_set_text(struct conf *c, enum conf_layer layer, const char *text, size_t n, const char *file) MUST_USE;
/* The file at path; if it is not there: nothing when optional, else ERR_CONFIG. */
struct err *conf_set_file(struct conf *c, enum conf_layer layer, const char *path, bool optional) MUST_USE;
/* The TASKD_* variables of envp.  One that is no key is left alone (other programs have such names, too),
 * unless it is one or two letters off. */
struct err *conf_set_env(struct conf *c, char *const *envp) MUST_USE;
/* Both standard files, then properties (NULL for none), then the environment, as envp has HOME and
 * XDG_CONFIG_HOME. */
struct err *conf_load(struct conf *c, const char *properties, char *const *envp) MUST_USE;

/* Typed values; asking for another type than the table's is our bug. */
const char *conf_str(const struct conf *c, enum conf_key key); /* STR or CHOICE, never NULL */
int64_t conf_int(const struct conf *c, enum conf_key key);     /* "infinity" is INT64_MAX */
bool conf_bool(const struct conf *c, enum conf_key key);
uint64_t conf_bytes(const struct conf *c, enum conf_key key);
uint64_t conf_ns(const struct conf *c, enum conf_key key); /* DURATION */
double conf_fraction(const struct conf *c, enum conf_key key);
/* Where the value of key was written; "built-in" if nobody did. */
const char *conf_origin(const struct conf *c, enum conf_key key);
enum conf_layer conf_layer(const struct conf *c, enum conf_key key);

/* The text of any key by any of its names, the job's own too; NULL if it is not set or no key. */
const char *conf_get(const struct conf *c, const char *name);
/* ERR_CONFIG with the nearest name when it begins like one of ours and is none. */
struct err *conf_check_name(const char *name) MUST_USE;

/* All keys: the table's in its order, then the job's own in the order they were first set. */
struct conf_item {
    const char *name, *value, *origin;
    const struct conf_def *def; /* NULL for a key of the job's own */
};
size_t conf_count(const struct conf *c);
struct conf_item conf_item(const struct conf *c, size_t i);

/* The one of n names that word was probably meant to be, letter case aside; NULL if none is near. */
const char *conf_nearest(const char *word, const char *const *names, size_t n);
#endif
