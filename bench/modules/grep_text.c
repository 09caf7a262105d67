/* grep_text INPUT OUTPUT: the lines that hold ERROR, by a text function that never cuts the other lines */
#include <taskd.h>

static int
keep(td_task *t, td_str text, td_out_str *out)
{
    for (int64_t at; (at = td_find(text, td_lit("ERROR"))) >= 0;) {
        const char *p = text.p + at;
        const char *s = (const char *)memrchr(text.p, '\n', (size_t)at);
        const char *e = (const char *)memchr(p, '\n', text.n - (size_t)at);

        s = s ? s + 1 : text.p;
        if (!e)
            e = text.p + text.n;
        td_str line = { s, (size_t)(e - s) };
        td_emit(out, line);
        if (e == text.p + text.n)
            break;
        text.n -= (size_t)(e + 1 - text.p);
        text.p = e + 1;
    }
    return 0;
}
TD_MAP_TEXT(keep, str);

static int
job(td_job *j, int argc, char **argv)
{
    if (argc != 3)
        return TD_USAGE(j, "grep_text INPUT OUTPUT");
    return td_save_text(td_map_text(td_text_file(j, argv[1]), keep), argv[2]);
}
TD_PLUGIN("grep_text", "1.0", job);
