"""Says in a sentence that a program died of a signal, such as of a fault in native code that an app calls."""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import os
import signal
import sys
import warnings

HINTS = {
    signal.SIGSEGV: "native code has a fault",
    signal.SIGBUS: "native code has a fault, or a file that it reads was cut",
    signal.SIGABRT: "native code gave up",
    signal.SIGILL: "native code was built for another processor",
    signal.SIGFPE: "native code divided by zero",
    signal.SIGKILL: "perhaps the system had no memory left",
}
_WATCHED = {signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
_PR_SET_PDEATHSIG = 1
_SHOW_CURSOR = "\x1b[?25h"


def go_on_in_a_child() -> None:
    """Return in a child of this process, which stays to say how the child died, and then ends as it did.

    The child has the terminal, so that a debugger works in it as ever. Where it dies of a fault, it prints its stack.
    The exit status is the child's, or as shells count 128 and the signal's number.
    """
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # numpy has threads, and makes them anew in the child
        child = os.fork()
    if child == 0:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        faulthandler.enable()
        return
    code = _wait_for(child)
    if code < 0:
        _say(signal.Signals(-code))
    os._exit(code if code >= 0 else 128 - code)


def _wait_for(child: int) -> int:
    """Pass on the signals that are meant for this process alone; gives the child's exit code, below 0 of a signal."""
    while True:
        told = signal.sigwaitinfo(_WATCHED)
        if told.si_signo == signal.SIGCHLD:
            pid, status = os.waitpid(child, os.WNOHANG)
            if pid == child:
                return os.waitstatus_to_exitcode(status)
        elif told.si_code <= 0:  # sent by a process; the terminal sends its own to the child as well
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, told.si_signo)


def _say(number: signal.Signals) -> None:
    hint = f": {HINTS[number]}" if number in HINTS else ""
    cursor = _SHOW_CURSOR if os.isatty(2) else ""  # the progress bar hides it
    text = f"{cursor}\nError: the process in which the app ran was killed by {number.name}{hint}.\n"
    with contextlib.suppress(OSError):  # who read it has gone
        os.write(2, text.encode())
