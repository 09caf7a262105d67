/* flow.h -- an engine in one process for the tests of lib/flow: the planner's stages, the tasks one after another,
 * files in memory, and nothing above flow.
 *
 * A test writes a job as an author does and runs it with rig_run().  What a job finds out it leaves in variables of
 * the test. */
#ifndef TESTS_FLOW_H
#define TESTS_FLOW_H
#include <taskd.h>

#include "base/arena.h"
#include "flow/job.h"
#include "flow/merge_set.h"
#include "unit.h"

struct rig_file {
    const char *name;
    int fd;
    uint64_t size;  /* as the planner is told */
    bool whole;
};

struct rig {
    /* set before rig_run; {0} is good for all */
    uint64_t budget;      /* of each attempt; 0: 1 GiB */
    uint32_t slots;       /* 0: 1 */
    uint32_t parallelism; /* 0: 2 */
    uint64_t split_bytes; /* 0: the planner's */
    bool one_record;
    struct rig_file file[8];
    uint32_t n_files;
    int die_fd;           /* not 0: an attempt that ends the process says here why, first */
    uint64_t cut[16];     /* with n_cuts: the first task reads file 0 in pieces that end here, whatever was planned */
    uint32_t n_cuts;
    uint32_t lose;        /* every so manyeth result is lost when it is asked for */

    /* found afterwards */
    struct arena a;
    int status;                   /* of main */
    uint64_t in_rows, in_bytes, out_rows, spill_bytes, bad_rows, digest, progress;
    uint32_t tasks;               /* that ran */
    uint32_t opened;              /* results */
    struct buf log, said;         /* lines */
    td_slot_ total[256];          /* per item */
    bool touched[256];
    uint64_t peak;                /* of any attempt's budget */
    struct flow_spot spot;        /* filled by rig_spot */
    char spot_text[64];

    /* its own */
    struct flow_world world;
    struct job_world job;
    struct plan_ids ids;
    struct { uint32_t stage, n; int *fd; char *path; } out[64]; /* outputs of a stage's tasks, by partition */
    uint32_t n_out;
    struct plan *plan;
    const struct plan_stage *stage;
    uint32_t partition, first;
    int result_stage;
    struct flow_bcasts bcasts;
    struct { uint32_t id; int fd; } bcast[8];
    uint32_t n_bcast, bcast_opens;
};

/* A file of the job's world.  bytes are copied. */
void rig_file(struct rig *r, const char *name, const void *p, size_t n);
void rig_text(struct rig *r, const char *name, const char *text);
/* Runs main and checks that the budget of every attempt is given back and no descriptor is left.  NULL for arg is
 * allowed; main finds it in rig_arg. */
int rig_run(struct rig *r, int (*main)(td_job *, int, char **), void *arg);
extern void *rig_arg;
/* Bytes of what a save wrote for a partition. */
char *rig_saved(struct rig *r, uint32_t partition, size_t *ret_n);
/* Everything that was saved, partition after partition. */
char *rig_saved_all(struct rig *r, size_t *ret_n);
void rig_fini(struct rig *r);
/* In a task: keeps flow_where() for the test. */
void rig_spot(void);
int rig_open_fds(void);

/* splitmix64 */
uint64_t rig_random(uint64_t *state);

/* The stream codec "files.x": every byte is xored with 0x55, at most 7 come at a time. */
extern const struct stream_codec rig_codec;

extern const struct unit_test flow_text_tests[], flow_chain_tests[], flow_memory_tests[], flow_take_tests[], flow_fold_tests[],
    flow_sort_tests[], flow_sink_tests[], flow_broadcast_tests[];
#endif
