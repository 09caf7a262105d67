# taskd.m4 -- for the configure.ac of a module                                              serial 1
#
# TASKD_PLUGIN([MINIMUM-ABI])
#
# Finds taskd by pkg-config and sets
#     TASKD_CFLAGS     what the compiler gets (for C and C++)
#     TASKD_LIBS       what the linker gets, when the module is linked by the compiler itself:
#                          job.so: job.o
#                                  $(CC) $(TASKD_CFLAGS) job.o $(TASKD_LIBS) -o $@
#     TASKD_LT_LDFLAGS the same for libtool:
#                          pkglib_LTLIBRARIES = job.la
#                          job_la_CFLAGS = $(TASKD_CFLAGS)
#                          job_la_LDFLAGS = $(TASKD_LT_LDFLAGS)
#     TASKD_SUBMIT     the path of taskd-submit, for tests
# and gives configure the options --with-isa=v1|v2|v3|v4 and --enable-asan.  MINIMUM-ABI is like 0.1; while the
# ABI's first number is 0 it must be met exactly.
AC_DEFUN([TASKD_PLUGIN], [
AC_REQUIRE([PKG_PROG_PKG_CONFIG])
AC_ARG_WITH([isa], [AS_HELP_STRING([--with-isa=LEVEL],
  [the least processor the module runs on: v1 v2 v3 v4 (x86-64 levels) @<:@v3@:>@])], [], [with_isa=v3])
AC_ARG_ENABLE([asan], [AS_HELP_STRING([--enable-asan],
  [build with AddressSanitizer, for a taskd that is built with it])])
AS_CASE([$with_isa], [v1|v2|v3|v4], [],
  [AC_MSG_ERROR([--with-isa=$with_isa: the levels are v1, v2, v3 and v4])])
AC_MSG_CHECKING([for taskd])
AS_IF([test -z "$PKG_CONFIG" || ! "$PKG_CONFIG" --exists taskd],
  [AC_MSG_RESULT([no])
   AC_MSG_ERROR([taskd is not found: set PKG_CONFIG_PATH to the lib/pkgconfig of its installation])])
taskd_abi=`"$PKG_CONFIG" --variable=abi taskd`
AC_MSG_RESULT([ABI $taskd_abi])
m4_ifnblank([$1], [AS_IF([test "x$taskd_abi" != "x$1"],
  [AC_MSG_ERROR([the module is written for ABI $1 of taskd, this one has $taskd_abi])])])
TASKD_CFLAGS=`"$PKG_CONFIG" --define-variable=isa=$with_isa --cflags taskd`
AS_IF([test "x$with_isa" = xv1], [TASKD_CFLAGS=`AS_ECHO(["$TASKD_CFLAGS"]) | sed 's/x86-64-v1/x86-64/'`])
TASKD_LIBS=`"$PKG_CONFIG" --libs taskd`
AS_IF([test "x$enable_asan" = xyes],
  [TASKD_CFLAGS="$TASKD_CFLAGS -fsanitize=address -fno-omit-frame-pointer"
   TASKD_LIBS="$TASKD_LIBS -fsanitize=address"])
TASKD_LT_LDFLAGS="-module -avoid-version -export-symbols-regex ^td_plugin_v1\$\$ `AS_ECHO(["$TASKD_LIBS"]) | sed 's/-shared//'`"
TASKD_SUBMIT=`"$PKG_CONFIG" --variable=taskd_submit taskd`
AC_SUBST([TASKD_CFLAGS])
AC_SUBST([TASKD_LIBS])
AC_SUBST([TASKD_LT_LDFLAGS])
AC_SUBST([TASKD_SUBMIT])
])
