/* User-Mode Linux 6.1 keeps a process's registers in 2,696 bytes, and its host takes back only a whole state. On a CPU
 * with AMX that is 11,008 bytes, so no guest gets past its first process ("ptrace set fp regs failed, errno = 14").
 * Preloaded, this gives it the part that fits, and hands that back filled up with zeros: the initial state of all that
 * was left out, which no guest uses, since Linux gives AMX only to those that ask for it. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

#define MOST 65536     /* bytes of the largest state there may ever be */
#define HEADER 512     /* where the bits stand that say which parts of the state are there */
#define FITTING 0x3ffu /* x87 to PKRU: the parts that lie in the first 2,696 bytes */

typedef long (*ptrace_fn)(int, pid_t, void *, void *);

long ptrace(enum __ptrace_request request, ...)
{
    static ptrace_fn real;
    static _Thread_local char whole[MOST] __attribute__((aligned(64)));
    va_list list;
    va_start(list, request);
    pid_t pid = va_arg(list, pid_t);
    void *kind = va_arg(list, void *), *data = va_arg(list, void *);
    va_end(list);
    if (!real)
        real = (ptrace_fn)dlsym(RTLD_NEXT, "ptrace");
    if ((uintptr_t)kind != NT_X86_XSTATE || (request != PTRACE_GETREGSET && request != PTRACE_SETREGSET))
        return real(request, pid, kind, data);

    struct iovec *theirs = data, all = {whole, MOST};
    long answer = real(PTRACE_GETREGSET, pid, kind, &all);
    if (answer < 0)
        return answer;
    if (theirs->iov_len > all.iov_len)
        theirs->iov_len = all.iov_len;
    if (request == PTRACE_SETREGSET) {
        memset(whole, 0, all.iov_len);
        memcpy(whole, theirs->iov_base, theirs->iov_len);
    }
    uint64_t parts;
    memcpy(&parts, whole + HEADER, sizeof parts);
    parts &= FITTING;
    memcpy(whole + HEADER, &parts, sizeof parts);
    if (request == PTRACE_SETREGSET)
        return real(request, pid, kind, &all);
    memcpy(theirs->iov_base, whole, theirs->iov_len);
    return answer;
}
