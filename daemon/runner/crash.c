/* crash -- see crash.h */
#include "runner/crash.h"

#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>
#include <unwind.h>

#include "net/recorder.h"

enum { ALT_STACK = 65536, ALT_GUARD = 4096 };

/* Process-wide, as signal handlers are. */
static struct {
    volatile struct recorder *rec;
    void (*fn)(void *arg, struct recorder *rec);
    void *arg;
    volatile sig_atomic_t step; /* the next step of the last words; a fault in one leads to the next */
    volatile sig_atomic_t signo;
    volatile sig_atomic_t quitting;
    uintptr_t pc, sp;
} crash;

/* ---- the steps */

static _Unwind_Reason_Code
on_pc(struct _Unwind_Context *ctx, void *arg)
{
    bool *found = arg;
    volatile struct recorder *rec = crash.rec;
    uintptr_t ip = _Unwind_GetIP(ctx);
    uint32_t n = rec->end.npcs;

    if (!*found) { /* the handler's own frames */
        *found = ip == crash.pc;
        return _URC_NO_REASON;
    }
    if (n >= RECORDER_PCS)
        return _URC_END_OF_STACK;
    rec->end.pcs[n] = ip;
    rec->end.npcs = n + 1;
    return _URC_NO_REASON;
}

static void
step_unwind(void)
{
    bool found = crash.signo == 0; /* exit(): all frames */

    _Unwind_Backtrace(on_pc, &found);
}

/* A jump to nowhere has no frame: what lies on top of the stack is where it came from. */
static void
step_caller(void)
{
    volatile struct recorder *rec = crash.rec;

    if (crash.signo && rec->end.npcs == 1 && crash.sp) {
        rec->end.pcs[1] = *(const volatile uintptr_t *)crash.sp;
        rec->end.npcs = 2;
    }
}

static void
step_record(void)
{
    if (crash.fn)
        crash.fn(crash.arg, (struct recorder *)(uintptr_t)crash.rec);
}

/* "size resident shared text lib data": pages */
static void
step_memory(void)
{
    char s[128];
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC), field = 1;
    ssize_t n = fd < 0 ? -1 : read(fd, s, sizeof s);
    uint64_t v = 0;

    if (fd >= 0)
        close(fd);
    for (ssize_t i = 0; i < n && field <= 6; i++) {
        if (s[i] == ' ')
            field++;
        else if (field == 6 && s[i] >= '0' && s[i] <= '9')
            v = v * 10 + (uint64_t)(s[i] - '0');
    }
    crash.rec->end.data_bytes = v * 4096;
}

static void
last_words(void)
{
    static void (*const steps[])(void) = { step_unwind, step_caller, step_record, step_memory };

    while (crash.step < (int)(sizeof steps / sizeof *steps))
        steps[crash.step++]();
}

/* ---- how it comes to an end */

static void
die(int signo)
{
    sigset_t set;

    signal(signo, SIG_DFL);
    sigemptyset(&set);
    sigaddset(&set, signo);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), signo);
    _exit(128 + signo);
}

static void
where(const ucontext_t *uc)
{
#if defined(__x86_64__)
    crash.pc = (uintptr_t)uc->uc_mcontext.gregs[REG_RIP];
    crash.sp = (uintptr_t)uc->uc_mcontext.gregs[REG_RSP];
#elif defined(__aarch64__)
    crash.pc = uc->uc_mcontext.pc;
    crash.sp = uc->uc_mcontext.sp;
#endif
}

static void
on_signal(int signo, siginfo_t *si, void *context)
{
    volatile struct recorder *rec = crash.rec;

    if (!crash.signo) {
        crash.signo = signo;
        where(context);
        rec->end.signo = signo;
        rec->end.code = si->si_code;
        rec->end.addr = signo == SIGXCPU || signo == SIGABRT ? 0 : (uintptr_t)si->si_addr;
        rec->end.pc = crash.pc;
        rec->end.sp = crash.sp;
        rec->end.pcs[0] = crash.pc;
        rec->end.npcs = 1;
        rec->end.kind = signo == SIGXCPU ? RECORDER_WHERE : RECORDER_SIGNAL;
        crash.step = 0; /* exit() may have been under way */
    }
    last_words();
    die(crash.signo);
}

static void
on_exit_called(int status, void *arg)
{
    volatile struct recorder *rec = crash.rec;

    if (crash.quitting)
        return;
    rec->end.status = status;
    rec->end.npcs = 0;
    rec->end.kind = RECORDER_EXIT;
    last_words();
}

/* ---- setting up */

static struct err *
alt_stack(void)
{
    char *p = mmap(NULL, ALT_STACK + ALT_GUARD, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (p == MAP_FAILED)
        return err_errno(errno, "making a stack for signal handlers");
    stack_t s = { .ss_sp = p + ALT_GUARD, .ss_size = ALT_STACK };
    if (mprotect(p, ALT_GUARD, PROT_NONE) < 0 || sigaltstack(&s, NULL) < 0)
        return err_errno(errno, "making a stack for signal handlers");
    return NULL;
}

struct err *
crash_init(struct recorder *rec)
{
    static const int signals[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS, SIGTRAP, SIGXCPU };
    struct sigaction sa = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER };

    crash.rec = rec;
    TRY(alt_stack());
    sigemptyset(&sa.sa_mask);
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        if (sigaction(signals[i], &sa, NULL) < 0)
            return err_errno(errno, "handling signal %d", signals[i]);
    if (on_exit(on_exit_called, NULL) != 0)
        return err_new(ERR_LIMIT, "no room for an exit handler");
    return NULL;
}

void
crash_module(const void *base, size_t size)
{
    crash.rec->end.module_base = (uintptr_t)base;
    crash.rec->end.module_size = size;
}

struct lookup {
    uintptr_t address;
    uintptr_t base, end;
};

static int
on_object(struct dl_phdr_info *o, size_t n, void *arg)
{
    struct lookup *l = arg;
    uintptr_t end = 0;
    bool inside = false;

    for (int i = 0; i < o->dlpi_phnum; i++) {
        const ElfW(Phdr) *ph = &o->dlpi_phdr[i];
        uintptr_t from = o->dlpi_addr + ph->p_vaddr, to = from + ph->p_memsz;

        if (ph->p_type != PT_LOAD)
            continue;
        inside |= l->address >= from && l->address < to;
        end = to > end ? to : end;
    }
    if (inside) {
        l->base = o->dlpi_addr;
        l->end = end;
    }
    return inside;
}

void
crash_module_of(const void *address)
{
    struct lookup l = { .address = (uintptr_t)address };

    if (dl_iterate_phdr(on_object, &l))
        crash_module((const void *)l.base, l.end - l.base);
}

void
crash_on_record(void (*fn)(void *arg, struct recorder *rec), void *arg)
{
    crash.fn = fn;
    crash.arg = arg;
}

void
crash_quit(int status)
{
    crash.quitting = 1;
    fflush(NULL);
    _exit(status);
}

void
crash_give_up(const char *text)
{
    volatile struct recorder *rec = crash.rec;
    uint32_t n = 0;

    for (; rec && n < RECORDER_TEXT && text[n]; n++)
        rec->end.text[n] = text[n];
    if (rec) {
        rec->end.text_n = n;
        rec->end.kind = RECORDER_GAVE_UP;
    } else {
        fprintf(stderr, "taskd-runner: %s\n", text);
    }
    crash_quit(1);
}
