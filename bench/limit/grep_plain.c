/* grep_plain INPUT OUTPUT -- the lines that hold ERROR, line by line: memchr for its end, memmem in it. */
#include "limit.h"

int
main(int argc, char **argv)
{
    struct feed f;
    const char *p;

    if (argc != 3)
        return fputs("usage: grep_plain INPUT OUTPUT\n", stderr), 2;
    feed_open(&f, argv[1]);
    struct sink *out = sink_open(argv[2]);
    for (size_t n; (n = feed_lines(&f, &p)) > 0;)
        for (const char *end = p + n; p < end;) {
            const char *e = memchr(p, '\n', (size_t)(end - p));
            size_t len = e ? (size_t)(e - p) : (size_t)(end - p);

            if (memmem(p, len, "ERROR", 5)) {
                sink_put(out, p, len);
                sink_put(out, "\n", 1);
            }
            p += len + 1;
        }
    sink_close(out);
    return 0;
}
