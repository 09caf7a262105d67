/* template -- records that end with a NUL byte, as `find -print0` and /proc/PID/environ have them; pairs are
 * written as key=value.  Copy this folder to begin a format of your own: ../README.md says how. */
#ifndef FORMAT_TEMPLATE_H
#define FORMAT_TEMPLATE_H
#include "flow/format.h"

extern const struct flow_format format_template;
#endif
