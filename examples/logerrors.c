/*
 * logerrors -- which service fails how often, out of logs with lines like
 *
 *     2026-01-31T12:00:05Z 17 503 83211 /cart/checkout          time service-id status latency-us path
 *
 *     taskd-cc logerrors.c -o logerrors.so
 *     taskd-submit --master 'local[*]' logerrors.so INPUT OUTPUT
 *
 * OUTPUT has "service-id<TAB>errors" (status 500 and above), sorted by service.  Lines that are not like that are
 * skipped and counted, and what they added to the counters is taken back.  The totals are printed at the end.
 */
#include <inttypes.h>
#include <taskd.h>

TD_COUNTER(requests);
TD_COUNTER(errors);
TD_MAXIMUM(slowest_us);
TD_MINIMUM(fastest_us);
TD_FSUM(seconds);

static void
failures(td_task *t, td_str line, td_out_u64_i64 *out)
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
    td_emit(out, service, 1);
}
TD_FLAT_MAP(failures, str, u64_i64);

static int
job(td_job *j, int argc, char **argv)
{
    if (argc != 3)
        return TD_USAGE(j, "logerrors INPUT OUTPUT");
    td_ds *lines = td_text_file(j, argv[1]);
    td_ds *failed = td_flat_map(lines, failures, .on_bad = TD_SKIP);
    int status = td_save_text(td_sort_by_key(td_sum_by_key(failed)), argv[2]);

    if (status == 0 && td_total(j, requests) > 0)
        td_say(j, "%" PRId64 " errors in %" PRId64 " requests, %.1f s in all, between %" PRId64 " and %" PRId64 " us each",
               td_total(j, errors), td_total(j, requests), td_total(j, seconds), td_total(j, fastest_us),
               td_total(j, slowest_us));
    return status;
}
TD_PLUGIN("logerrors", "1.0", job);
