/* options_priv -- what options.c and options_check.c share. */
#ifndef SUBMIT_OPTIONS_PRIV_H
#define SUBMIT_OPTIONS_PRIV_H
#include "submit/options.h"

/* Fills cluster_mode and files, and refuses what makes no sense together; conf, master and action are there. */
struct err *submit__options_check(struct arena *a, struct submit_options *o) MUST_USE;
#endif
