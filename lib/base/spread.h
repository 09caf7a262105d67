/*
 * spread -- a folder whose files may lie in further ones, on other disks.
 *
 *   FOLDER/NAME, FOLDER/more-1/NAME, FOLDER/more-2/NAME ...     more-1, more-2 ... are links to folders
 *
 * A file has one name and lies in one of them; who looks for it knows FOLDER only.  A folder without links is spread
 * over itself alone, and costs nothing more.  Threads: any.
 */
#ifndef BASE_SPREAD_H
#define BASE_SPREAD_H
#include "base/buf.h"

enum { SPREAD_MAX = 16 }; /* further folders */

/* The next folder of a list with commas between, absolute, in a; empty ones are left out.  NULL at its end. */
struct err *spread_next(const char **list, struct arena *a, const char **ret) MUST_USE;
/* The links are these n from now on (at most SPREAD_MAX); those that are so already are left alone. */
struct err *spread_over(const char *folder, const char *const *targets, unsigned n) MUST_USE;
/* How many further ones there are. */
unsigned spread_count(const char *folder);
/* Appends where the nth is; 0 is FOLDER itself. */
void spread_path(const char *folder, unsigned nth, struct buf *out);
/* Which of FOLDER and its n further ones has the most bytes free for us: for a new file. */
unsigned spread_roomiest(const char *folder, unsigned n);
/* Opens FOLDER's file of that name, wherever it lies, to be read; links are not followed.  -1 with errno, of the
 * first folder that has another one than ENOENT. */
int spread_open(const char *folder, const char *name);
/* Removes it, wherever among n further ones it lies; that it is not there is fine. */
void spread_unlink(const char *folder, unsigned n, const char *name);
#endif
