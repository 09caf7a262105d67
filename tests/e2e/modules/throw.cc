/* throw INPUT OUTPUT: a C++ exception leaves the function at a record that contains POISON. */
#include <stdexcept>
#include <string>
#include <taskd.h>

static td_str_i64
measure(td_task *, td_str line)
{
    std::string s(line.p, line.n);

    if (s.find("POISON") != std::string::npos)
        throw std::runtime_error("cannot measure " + s);
    return { line, (td_i64)s.size() };
}
TD_MAP(measure, str, str_i64);

static int
job(td_job *j, int argc, char **argv)
{
    if (argc != 3)
        return TD_USAGE(j, "throw INPUT OUTPUT");
    return td_save_text(td_map(td_text_file(j, argv[1]), measure), argv[2]);
}
TD_PLUGIN("throw", "1.0", job);
