/*
 * file -- whole reads, whole writes, trees.  All calls retry EINTR and short transfers.
 * name is only for the sentence of an error.  Threads: any.
 */
#ifndef BASE_FILE_H
#define BASE_FILE_H
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

/* Reads exactly n bytes at off; fewer is ERR_CORRUPT "… ends after N bytes". */
struct err *file_pread_full(int fd, void *p, size_t n, uint64_t off, const char *name) MUST_USE;
/* Reads up to n bytes at off; *ret_n 0 is the end of the file. */
struct err *file_pread(int fd, void *p, size_t n, uint64_t off, size_t *ret_n, const char *name) MUST_USE;
struct err *file_write_full(int fd, const void *p, size_t n, const char *name) MUST_USE;
/* path, or below the current directory if it is relative; in a. */
struct err *file_absolute(const char *path, struct arena *a, const char **ret) MUST_USE;
/* The whole file behind out->n.  Longer than limit bytes is ERR_LIMIT. */
struct err *file_slurp(const char *path, size_t limit, struct buf *out) MUST_USE;
/* mkdir -p with mode; a directory that exists is fine. */
struct err *file_mkdirs(const char *path, int mode) MUST_USE;
/* rm -rf by file descriptors: links are not followed; what is not there is fine.  Removes all that it can; the error
 * is the first one. */
struct err *file_remove_tree(const char *path) MUST_USE;
/* The same for a directory that more than one may want to remove, but only as long as it is what it was: PATH/MARK says
 * so.  Who renames MARK has it, alone; it is renamed to PATH.MARK~ at once, so that PATH is free, and then removed.
 * Somebody was quicker, or it is not there: nothing is done, no error.  Goes on with a PATH.MARK~ that somebody who was
 * killed has left. */
struct err *file_remove_marked(const char *path, const char *mark) MUST_USE;
/* "PATH.MARK~", where a directory of that mark is while it is not at PATH: not yet, or not any more.  The caller frees it. */
char *file_marked_away(const char *path, const char *mark) MUST_USE;
/* Removes that, if it is there.  Renamed first: who is about to rename it to PATH finds all of it, or nothing. */
struct err *file_remove_marked_away(const char *path, const char *mark) MUST_USE;
/* -1 becomes a no-op; sets *fd to -1. */
void file_close(int *fd);
#endif
