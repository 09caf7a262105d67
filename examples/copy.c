/*
 * copy -- reads lines and writes them again: the smallest module there is, and what input and output cost alone.
 *
 *     taskd-cc copy.c -o copy.so
 *     taskd-submit --master 'local[*]' copy.so INPUT OUTPUT
 *
 * `cat OUTPUT/part-*` is INPUT, but for a newline that its last line may have lacked.
 */
#include <taskd.h>

static int
job(td_job *j, int argc, char **argv)
{
    if (argc != 3)
        return TD_USAGE(j, "copy INPUT OUTPUT");
    return td_save_text(td_text_file(j, argv[1]), argv[2]);
}
TD_PLUGIN("copy", "1.0", job);
