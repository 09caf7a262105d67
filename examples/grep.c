/*
 * grep -- the lines that contain a text.
 *
 *     taskd-cc grep.c -o grep.so
 *     taskd-submit --master 'local[*]' grep.so TEXT INPUT OUTPUT
 *
 * A text function gets many whole lines at once, not cut: it looks for TEXT in all of them together and finds
 * the ends of a line only around a match.  That is much faster than a filter line by line.
 */
#include <taskd.h>

TD_COUNTER(matching_lines);

/* What the job hands to its tasks: bytes, no pointers. */
struct wanted {
    uint32_t n;
    char text[252];
};

static int
matching(td_task *t, td_str lines, td_out_str *out)
{
    const struct wanted *w = td_arg(t, struct wanted);
    td_str text = { w->text, w->n };
    int64_t at;

    while ((at = td_find(lines, text)) >= 0) {
        const char *hit = lines.p + at, *end = lines.p + lines.n;
        const char *nl = (const char *)memchr(hit, '\n', (size_t)(end - hit));
        const char *before = at ? (const char *)memrchr(lines.p, '\n', (size_t)at) : NULL;
        td_str line = { before ? before + 1 : lines.p, 0 };

        line.n = (size_t)((nl ? nl : end) - line.p);
        td_emit(out, line);
        td_add(t, matching_lines, 1);
        if (!nl)
            break;
        lines.p = nl + 1;
        lines.n = (size_t)(end - lines.p);
    }
    return 0;
}
TD_MAP_TEXT(matching, str);

static int
job(td_job *j, int argc, char **argv)
{
    struct wanted w = { 0, "" };

    if (argc != 4)
        return TD_USAGE(j, "grep TEXT INPUT OUTPUT");
    td_str text = td_cstr(argv[1]);
    if (text.n == 0 || text.n > sizeof w.text || memchr(text.p, '\n', text.n))
        return TD_USAGE(j, "grep TEXT INPUT OUTPUT (TEXT: 1 to 252 bytes, one line)");
    w.n = (uint32_t)text.n;
    memcpy(w.text, text.p, text.n);
    td_ds *found = td_map_text(td_text_file(j, argv[2]), matching, TD_ARG(w));

    return td_save_text(found, argv[3]);
}
TD_PLUGIN("grep", "1.0", job);
