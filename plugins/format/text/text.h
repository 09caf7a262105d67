/* text -- lines that end with \n; pairs are written as key<TAB>value.  See flow/format.h for the contract. */
#ifndef FORMAT_TEXT_H
#define FORMAT_TEXT_H
#include "flow/format.h"

extern const struct flow_format format_text;
#endif
