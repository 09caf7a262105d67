/*
 * logerrors -- which service fails how often, out of logs with lines like
 *
 *     2026-01-31T12:00:05Z 17 503 83211 /cart/checkout          time service-id status latency-us path
 *
 *     taskd-cc logerrors.c -o logerrors.so
 *     taskd-submit --master 'local[*]' logerrors.so INPUT NAMES OUTPUT
 *
 * NAMES is a table of the services, lines like "17,cart"; every task looks them up in it, so it is broadcast: there is
 * one copy on each machine.  OUTPUT has "service<TAB>errors" (status 500 and above), sorted by service; a service
 * that is not in the table is "service 17".  Lines that are not like that are skipped and counted, and what they added to
 * the counters is taken back.  The totals are printed at the end.
 */
#include <inttypes.h>
#include <stdio.h>
#include <taskd.h>

TD_COUNTER(requests);
TD_COUNTER(errors);
TD_COUNTER(unknown);
TD_MAXIMUM(slowest_us);
TD_MINIMUM(fastest_us);
TD_FSUM(seconds);

enum { SERVICES = 4096 };
struct names {
    td_str of[SERVICES]; /* by id: views into the table's own bytes, which stay as long as this does */
};

static struct names *
names_build(td_task *t, td_str table)
{
    struct names *names = (struct names *)td_alloc(t, sizeof *names);
    td_str line, id;
    uint64_t k;

    for (int n = 1; td_cut(&table, '\n', &line); n++) {
        if (line.n == 0)
            continue;
        if (!td_cut(&line, ',', &id) || !td_to_u64(id, &k) || k >= SERVICES) {
            td_fail(t, "line %d is not \"number,name\": \"%.*s\"", n, TD_S(id));
            return NULL;
        }
        names->of[k] = line;
    }
    return names;
}
TD_BROADCAST(names, struct names, names_build);

static void
failures(td_task *t, td_str line, td_out_str_i64 *out)
{
    td_str rest = line, field[5];
    uint64_t service, status, us;

    td_add(t, requests, 1);
    for (int i = 0; i < 5; i++)
        if (!td_cut(&rest, ' ', &field[i])) {
            td_bad(t, "%d fields instead of 5", i);
            return;
        }
    if (!td_to_u64(field[1], &service) || !td_to_u64(field[2], &status) || !td_to_u64(field[3], &us)) {
        td_bad(t, "service, status or latency is not a number");
        return;
    }
    td_max(t, slowest_us, (int64_t)us);
    td_min(t, fastest_us, (int64_t)us);
    td_fadd(t, seconds, (double)us * 1e-6);
    if (status < 500)
        return;
    td_add(t, errors, 1);
    if (service < SERVICES && td_get(t, names)->of[service].n) {
        td_emit(out, td_get(t, names)->of[service], 1);
        return;
    }
    char number[32];
    snprintf(number, sizeof number, "service %" PRIu64, service);
    td_add(t, unknown, 1);
    td_emit(out, td_cstr(number), 1);
}
TD_FLAT_MAP(failures, str, str_i64);

static int
job(td_job *j, int argc, char **argv)
{
    if (argc != 4)
        return TD_USAGE(j, "logerrors INPUT NAMES OUTPUT");
    if (td_broadcast_file(j, names, argv[2]))
        return 1;
    td_ds *lines = td_text_file(j, argv[1]);
    td_ds *failed = td_flat_map(lines, failures, .on_bad = TD_SKIP);
    int status = td_save_text(td_sort_by_key(td_sum_by_key(failed)), argv[3]);

    if (status == 0 && td_total(j, requests) > 0)
        td_say(j, "%" PRId64 " errors (%" PRId64 " of unknown services) in %" PRId64
               " requests, %.1f s in all, between %" PRId64 " and %" PRId64 " us each",
               td_total(j, errors), td_total(j, unknown), td_total(j, requests), td_total(j, seconds),
               td_total(j, fastest_us), td_total(j, slowest_us));
    return status;
}
TD_PLUGIN("logerrors", "1.0", job);
