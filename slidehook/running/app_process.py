"""Runs apps in a child process that can be timed out, stopped and survived.

The child lives on between jobs, so that what an app loads in `setup` stays loaded.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from multiprocessing.process import BaseProcess
from pathlib import Path

import structlog

from slidehook.errors import AppCrashed, AppError, AppOutOfMemory, AppTimeout, SlidehookError, SystemUnavailable
from slidehook.running.child import serve
from slidehook.running.child_channel import ProgressMessage, TokenRefused
from slidehook.running.child_output import Prints
from slidehook.running.desk import Desk, TerminalPrints, serve_at_desk
from slidehook.running.environment import environment_for_apps
from slidehook.running.memory_guard import MemoryGuard, end_group
from slidehook.running.message_pipe import Garbled, HungUp, new_line
from slidehook.running.orphans import Marked
from slidehook.running.task import Analysis, Fault, Task
from slidehook.settings import Settings, settings_for_apps

TICK_S = 0.25
"""How often `tick` is called while an app computes, in seconds."""
STOP_S = 5.0
"""Time allowed for a child that closed its line to end by itself, in seconds."""
KILL_S = 10.0
"""The longest wait for the end of a killed child, in seconds; a child that waits for a dead disk may remain."""
LAST_WORDS = 1000
"""The most messages of a dead child that are read, because its own child processes may send without end."""

log = structlog.get_logger()


class AppProcess:
    """One child process. It dies with its parent, even if that is killed.

    It leads a process group of its own and adopts orphans, so that all processes of an app end with it.
    """

    def __init__(self, settings: Settings, *, desk: Desk | None = None) -> None:
        """Start the process. At a `desk` it is a fork of this process, with the same terminal and the apps loaded."""
        self._line, theirs = new_line()
        ours = settings_for_apps(settings, proxy=True)
        self._prints: Prints | TerminalPrints
        self._process: BaseProcess
        if desk is None:
            self._prints = prints = Prints()
            self._marked = Marked(left_behind(settings), prints.inode)
            args = (theirs, prints.writer, ours, os.getpid())
            self._process = multiprocessing.get_context("spawn").Process(target=serve, args=args, name="app")
        else:
            self._prints = TerminalPrints()
            self._marked = Marked(desk.notes, self._prints.inode)
            at_desk = (self._line, theirs, desk, ours, os.getpid())
            self._process = multiprocessing.get_context("fork").Process(
                target=serve_at_desk, args=at_desk, name="app"
            )
        try:
            with environment_for_apps(), self._marked.starting(), warnings.catch_warnings():
                # A fork of a process with threads: numpy creates its own again in the child, which uses no others.
                warnings.simplefilter("ignore", DeprecationWarning)
                self._process.start()
            self._prints.start()
        except BaseException:  # for example, if no more processes can be started
            self._marked.forget()
            self._prints.close()
            self._line.close()
            raise
        finally:
            theirs.close()
        self._over = False
        self.analyses = 0
        """How many analyses it has begun; earlier ones may have left data in its memory."""

    @property
    def pid(self) -> int | None:
        """The child's process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the child runs; False once it has ended, even if it is not reaped yet."""
        if self._over or self.pid is None:
            return False
        try:
            # Not `is_alive`, which reaps the child: its id could then pass to another process, which would be killed.
            return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
        except ChildProcessError:
            return False

    def analyse(
        self,
        task: Task,
        *,
        timeout_s: float,
        memory_gb: float | None = None,
        progress: Callable[[float, str], None],
        tick: Callable[[], None],
        another_token: Callable[[str], str | None] = lambda _: None,
    ) -> Analysis:
        """Have one slide analysed; `tick` is called about four times a second, and stops the analysis by raising.

        `another_token` is called with a token that the slide's system refused, and returns another one or None.
        `memory_gb`: the most memory of the child in GiB, including data of earlier analyses; None: no limit.

        Raises an error of the app as AppError, an error of slidehook unchanged, AppTimeout, AppOutOfMemory and
        AppCrashed. After any error that the child did not report itself, the child has been killed.
        """
        self.analyses += 1
        guard = None if memory_gb is None or self.pid is None else MemoryGuard(self.pid, memory_gb * 2**30)

        waiting = self._within(timeout_s, tick)
        try:
            with guard or nullcontext(), self._printing(task):
                self._send(task, waiting)
                while (found := self._receive(progress, another_token, waiting)) is None:
                    waiting()
        except HungUp as error:
            crash = self._end()
            if memory_gb is not None and guard is not None and guard.exceeded:
                raise AppOutOfMemory.over(memory_gb) from error
            raise crash from error
        except Garbled as error:
            self.kill()
            raise AppCrashed(f"the analysis process sent what is no message ({error})") from error
        except _Reported as reported:
            raise reported.error from None
        except BaseException:
            self.kill()
            raise
        if guard is not None and guard.exceeded:
            self.kill()  # its group was killed just after the analysis: the next one needs a new child
        return found

    @contextmanager
    def _printing(self, task: Task) -> Iterator[None]:
        """Log what the child prints during this block with the job's id."""
        job = structlog.contextvars.get_contextvars().get("job")
        self._prints.hide(task.secret)
        self._prints.about(app=task.app_id, **({"job": str(job)} if job else {}))
        try:
            yield
        finally:
            self._prints.about()

    def _within(self, timeout_s: float, tick: Callable[[], None]) -> Callable[[], None]:
        """Return the function to call now and then while waiting for the child.

        It raises what `tick` raises, and AppTimeout when the time is over.
        """
        until = time.monotonic() + timeout_s

        def waiting() -> None:
            tick()
            if time.monotonic() > until:
                raise AppTimeout.after(timeout_s)

        return waiting

    def _send(self, message: object, waiting: Callable[[], None]) -> None:
        """Send a message; raises HungUp when the child is dead, even if its own children hold its end of the line."""

        def living() -> None:
            if not self.alive:
                raise HungUp
            waiting()

        self._line.send(message, living)

    def _receive(
        self,
        progress: Callable[[float, str], None],
        another_token: Callable[[str], str | None],
        waiting: Callable[[], None],
    ) -> Analysis | None:
        """Read messages of the child, and wait at most `TICK_S` for one; returns the analysis if it has ended."""
        alive = self.alive
        for _ in range(1 if alive else LAST_WORDS):
            if not self._line.poll(TICK_S if alive else 0):
                break
            match self._line.recv():
                case Analysis() as found:
                    return found
                case Fault() as fault:
                    raise _Reported(_error(fault, self._prints.cleaned))
                case ProgressMessage(percent, text):
                    progress(percent, text)
                case TokenRefused(token):
                    other = another_token(token)
                    self._prints.hide(other or "")
                    self._send(other, waiting)
        if not alive:
            raise HungUp
        return None

    def _end(self) -> AppCrashed:
        """Let a child whose line is closed end by itself for a while, then kill it; returns why it died."""
        until = time.monotonic() + STOP_S
        while self.alive and time.monotonic() < until:
            time.sleep(0.01)
        lived = self.alive
        self.kill()
        if lived:
            return AppCrashed("the analysis process closed its line to the worker")
        code = self._process.exitcode
        crash = AppCrashed(f"the analysis process died ({_ending(code)})")
        crash.signal_number = max(0, -(code or 0))
        return crash

    def kill(self) -> None:
        """Kill the child and all processes that it has started."""
        if self._over:
            return
        # Before the child is reaped: until then no other process has its id, by which its descendants are found.
        if self.pid is not None:
            end_group(self.pid, self._marked.find)
        self._over = True
        self._process.kill()
        until = time.monotonic() + KILL_S
        # Not `join` with a timeout, which waits for a pipe that forks of the child may hold.
        while self._process.exitcode is None and time.monotonic() < until:
            time.sleep(0.001)
        if self._process.exitcode is None:
            log.error("an app's process does not die", pid=self.pid)
        else:
            self._marked.forget()
        self._line.close()
        self._prints.close()


def left_behind(settings: Settings) -> Path:
    """Return the folder of the notes about running app processes."""
    return settings.data_dir / "processes"


class AppTrace(AppError):
    """An app's own fault, with the child's traceback."""


class _Reported(Exception):
    """An error that the child reported itself, so that it lives on."""

    def __init__(self, error: SlidehookError) -> None:
        self.error = error


def _error(fault: Fault, cleaned: Callable[[str], str]) -> SlidehookError:
    sentence = cleaned(fault.sentence)
    if fault.trace:
        error = AppTrace(sentence)
        error.trace = cleaned(fault.trace)
        return error
    reported = fault.error(sentence)
    if isinstance(reported, SystemUnavailable):
        reported.retry_after_s = fault.retry_after_s
    return reported


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"exit status {code}"
