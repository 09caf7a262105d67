/* job_priv -- what job.c (the graph) and act.c (actions) share. */
#ifndef FLOW_JOB_PRIV_H
#define FLOW_JOB_PRIV_H
#include "flow/job.h"

struct job {
    td_job j; /* first: the author's handle is a pointer to this */
    const struct job_world *w;
    const struct flow_world *fw;
    const struct flow_items *items;
    struct plan_graph graph;
    uint32_t cap;
    struct arena a;
    char *error; /* the last one's text */
    bool failed, has_ds;
    struct rows *rows; /* results that main has not freed */
    enum err_code code; /* of the first error */
    struct plan_bcast *bcast, *bcast_live; /* of each item the value as it is now; all values there are */
    uint32_t n_bcast, n_bcast_live, bcasts; /* bcasts: how many there ever were: the last one's number */
};

struct ds {
    td_ds d; /* first */
    uint32_t node;
    struct plan_schema out;
    bool poison;
};

const char *job__base(const char *path);
const char *job__type_name(struct plan_schema s, char buf[static 16]);
void job__fail(struct job *j, struct err *take);
uint32_t job__item(const struct job *j, const td_item *item);
/* job_broadcast.c */
int job__broadcast(td_job *j, int op, const td_bc *b, const void *p, size_t n, const char *file, int line);
int job__act(int op, td_ds *ds, const char *path, uint64_t n, const td_fn *f, void *ret, const char *file, int line);
void job__rows_free(td_rows *r);
void job__rows_free_all(struct job *j);
#endif
