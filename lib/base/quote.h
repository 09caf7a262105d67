/* quote -- bytes that came from outside, as text that any terminal can show.  Threads: any; signal handlers: no. */
#ifndef BASE_QUOTE_H
#define BASE_QUOTE_H
#include <stddef.h>

/* n bytes of p as text in double quotes into s of size cap (>= 8): printable ASCII and valid UTF-8
 * as they are, \n \t \" \\ and \xNN for the rest, "..." behind when it was cut.  Always
 * NUL-terminated. */
void quote_text(const char *p, size_t n, int cut, char *s, size_t cap);
#endif
