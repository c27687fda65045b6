"""Runs apps in a child process that can be timed out, stopped and survived.

The child lives on between jobs, so that what an app loads in `setup` stays loaded.
"""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import pickle
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

import structlog

from slidehook.access import DpatAccess
from slidehook.app import App, TaggedPolygon
from slidehook.errors import (
    AppChanged,
    AppCrashed,
    AppError,
    AppOutOfMemory,
    AppTimeout,
    DpatUnavailable,
    SlidehookError,
)
from slidehook.geometry import Frame
from slidehook.hosting.fingerprint import fingerprint, resting_on
from slidehook.hosting.memory import adopt_orphans
from slidehook.hosting.plain import in_words, plain
from slidehook.hosting.registry import Registry, load_apps
from slidehook.hosting.running import certain_mpp, run_app
from slidehook.hosting.withheld import begin_apps_process, environment_for_apps, settings_for_apps
from slidehook.iaapi.client import DpatServers
from slidehook.iaapi.models import ImageInfo, Input, WholeSlideInput
from slidehook.pixels.bounds import Bounds
from slidehook.regions import tag_of
from slidehook.result import Result
from slidehook.settings import Settings
from slidehook.slide import Slide
from worker.leftbehind import Marked
from worker.line import Garbled, HungUp, Line, new_line
from worker.memory import MemoryGuard, end_group
from worker.overview import keep_overview
from worker.prints import Prints, flush_prints, print_into
from worker.supervisor import end_with
from worker.telling import ChildTokens, Step, Teller, TokenRefused

TICK_S = 0.25
"""How often the worker is asked for its own duties while an app computes, in seconds."""
STOP_S = 5.0
"""How long a child that closed its pipe may take to die, in seconds."""
KILL_S = 10.0
"""How long this waits until a child that is killed is gone, in seconds; one that waits for a dead disk may stay."""
LAST_WORDS = 1000
"""How many messages of a dead child are read; what it started may speak in its place, without an end."""
MAX_RESULT_BYTES = 64 * 1024 * 1024
"""The largest result that a child may send: some million points."""


log = structlog.get_logger()


@dataclass(frozen=True)
class Task:
    """What a child is to analyse; a `path` is None where the app needs no such thing, or there is none.

    `thumbnail` is made by the child where it is not there yet: of DPAT's tiles, else of the file `overview_from`.
    `drawn` is what the user drew; `callback_url` and `token` are the way to the job's DPAT, None when there is none.
    `dependency` is what the app in the app's `depends_on` has found, and `rests_on` that app's fingerprint.
    """

    app_id: str
    path: Path | None
    info: ImageInfo
    thumbnail: Path | None
    label: Path | None = None
    drawn: Input = field(default_factory=WholeSlideInput)
    callback_url: str | None = None
    token: str = field(default="", repr=False)
    dependency: Result | None = None
    rests_on: str = ""
    overview_from: Path | None = None


@dataclass(frozen=True)
class Found:
    """What an app found, and the slide's extent in level-0 pixels that it counted in.

    `mpp`: µm per such pixel, None when that is not certain. `rests_on`: the fingerprint of the app that found it.
    `bounds`: what the file says was scanned.
    """

    result: Result
    frame: Frame
    mpp: float | None = None
    rests_on: str = ""
    bounds: Bounds | None = None


@dataclass(frozen=True)
class _Fault:
    error: type[SlidehookError]
    sentence: str
    trace: str = ""
    retry_after_s: float = 0.0


class AppProcess:
    """One child process. It dies with its parent, also when that is killed.

    It leads a process group of its own and adopts orphans, so that what an app starts ends with it.
    """

    def __init__(self, settings: Settings) -> None:
        context = multiprocessing.get_context("spawn")
        self._line, theirs = new_line()
        self._prints = Prints()
        self._marked = Marked(left_behind(settings), self._prints.inode)
        args = (theirs, self._prints.writer, settings_for_apps(settings, proxy=True), os.getpid())
        self._process = context.Process(target=_serve, args=args, name="app")
        try:
            with environment_for_apps(), self._marked.starting():
                self._process.start()
            self._prints.start()
        except BaseException:  # as when there can be no more processes
            self._marked.forget()
            self._prints.close()
            self._line.close()
            raise
        finally:
            theirs.close()
        self._over = False
        self.analyses = 0
        """How many analyses it has begun; what those before the last have left in its memory is not that one's."""

    @property
    def pid(self) -> int | None:
        """The child's process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the child runs; one that has ended and is not yet reaped does not."""
        if self._over or self.pid is None:
            return False
        try:
            # Not `is_alive`, which reaps it: its id would be free for another process that then is killed as it.
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
    ) -> Found:
        """Have one slide analysed; `tick` is called about four times a second and may raise to stop it.

        `another_token` is asked when DPAT refuses the task's token, or the one that this gave. `memory_gb`: how many
        GiB the child may take, with what is still in its memory from before; None: any number.

        Raises what the app raised as an AppError, errors of ours as they are, AppTimeout, AppOutOfMemory and
        AppCrashed. After anything that the child did not tell itself, it is gone.
        """
        self.analyses += 1
        guard = None if memory_gb is None or self.pid is None else MemoryGuard(self.pid, memory_gb * 2**30)

        waiting = self._within(timeout_s, tick)
        try:
            with guard or nullcontext(), self._printing(task):
                self._send(task, waiting)
                while (found := self._hear(progress, another_token, waiting)) is None:
                    waiting()
        except HungUp as error:
            reason = self._end()
            if memory_gb is not None and guard is not None and guard.exceeded:
                raise AppOutOfMemory.over(memory_gb) from error
            raise AppCrashed(reason) from error
        except Garbled as error:
            self.kill()
            raise AppCrashed(f"the analysis process sent what is no message ({error})") from error
        except _Told as told:
            raise told.error from None
        except BaseException:
            self.kill()
            raise
        if guard is not None and guard.exceeded:
            self.kill()  # it was killed when it had just ended: the next analysis needs a new one
        return found

    @contextmanager
    def _printing(self, task: Task) -> Iterator[None]:
        """Log what the child prints in this block with the job's id."""
        job = structlog.contextvars.get_contextvars().get("job")
        self._prints.hide(task.token)
        self._prints.about(app=task.app_id, **({"job": str(job)} if job else {}))
        try:
            yield
        finally:
            self._prints.about()

    def _within(self, timeout_s: float, tick: Callable[[], None]) -> Callable[[], None]:
        """Give what is called now and then while this waits for the child.

        It raises what `tick` raises, and AppTimeout when the time is over.
        """
        until = time.monotonic() + timeout_s

        def waiting() -> None:
            tick()
            if time.monotonic() > until:
                raise AppTimeout.after(timeout_s)

        return waiting

    def _send(self, message: object, waiting: Callable[[], None]) -> None:
        """Send while the child lives; raises HungUp when it is dead, whoever holds its end of the line."""

        def living() -> None:
            if not self.alive:
                raise HungUp
            waiting()

        self._line.send(message, living)

    def _hear(
        self,
        progress: Callable[[float, str], None],
        another_token: Callable[[str], str | None],
        waiting: Callable[[], None],
    ) -> Found | None:
        """Wait for what the child says, for `TICK_S` at most; gives what it found, if that is what it says."""
        alive = self.alive
        for _ in range(1 if alive else LAST_WORDS):
            if not self._line.poll(TICK_S if alive else 0):
                break
            match self._line.recv():
                case Found() as found:
                    return found
                case _Fault() as fault:
                    raise _Told(_error(fault, self._prints.cleaned))
                case Step(percent, text):
                    progress(percent, text)
                case TokenRefused(token):
                    other = another_token(token)
                    self._prints.hide(other or "")
                    self._send(other, waiting)
        if not alive:
            raise HungUp
        return None

    def _end(self) -> str:
        """Give a child whose line is closed the time to die of itself, then kill it; gives a sentence on why."""
        until = time.monotonic() + STOP_S
        while self.alive and time.monotonic() < until:
            time.sleep(0.01)
        lived = self.alive
        self.kill()
        if lived:
            return "the analysis process closed its line to the worker"
        return f"the analysis process died ({_ending(self._process.exitcode)})"

    def kill(self) -> None:
        """End the child at once, and what it has started."""
        if self._over:
            return
        # Before the child is reaped: until then, its id is its own, and what it has started is found beside it.
        if self.pid is not None:
            end_group(self.pid, self._marked.find)
        self._over = True
        self._process.kill()
        until = time.monotonic() + KILL_S
        # Not `join` with a time: that waits for a pipe, which what the child has forked may hold.
        while self._process.exitcode is None and time.monotonic() < until:
            time.sleep(0.001)
        if self._process.exitcode is None:
            log.error("an app's process does not die", pid=self.pid)
        else:
            self._marked.forget()
        self._line.close()
        self._prints.close()


def left_behind(settings: Settings) -> Path:
    """Name the folder where it is noted which processes of apps there are."""
    return settings.data_dir / "processes"


class AppTrace(AppError):
    """An app's own fault; carries the child's traceback."""


class _Told(Exception):
    """An error that the child lived to tell."""

    def __init__(self, error: SlidehookError) -> None:
        self.error = error


def _error(fault: _Fault, cleaned: Callable[[str], str]) -> SlidehookError:
    sentence = cleaned(fault.sentence)
    if fault.trace:
        error = AppTrace(sentence)
        error.trace = cleaned(fault.trace)
        return error
    told = fault.error(sentence)
    if isinstance(told, DpatUnavailable):
        told.retry_after_s = fault.retry_after_s
    return told


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"exit status {code}"


# --- in the child


def _serve(pipe: Line, prints: Connection, settings: Settings, parent: int) -> None:
    """Analyse what comes through the line until it closes."""
    print_into(prints)
    begin_apps_process()
    faulthandler.enable()  # of a fault in native code, the log has Python's stack
    pipe.keep_to_this_process()
    os.setpgid(0, 0)
    adopt_orphans()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    end_with(parent, signal.SIGKILL)
    apps = LoadedApps(load_apps(settings))
    servers = DpatServers(settings)
    while True:
        try:
            task: Task = pipe.recv()
        except HungUp:
            return
        teller = Teller(pipe)
        message = _analyse(apps, task, servers, teller)
        flush_prints()
        teller.end(message)


class LoadedApps:
    """The apps of one child, each with the fingerprint that it was set up with."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._fingerprints: dict[str, str] = {}
        self._modules = self._imported()

    def ready(self, app_id: str) -> tuple[App, str]:
        """Give an app that is set up, and its fingerprint; raises what `setup` raises, and AppChanged."""
        app = self._registry.get(app_id)
        if app is None:
            raise AppChanged(f"the app {app_id} does not load on this worker")
        if app.id not in self._fingerprints:
            before = fingerprint(app)
            app.setup()
            if fingerprint(app) != before:
                raise AppChanged(f"a file of the app {app_id} changed while it was set up")
            self._fingerprints[app.id] = before
        return app, self._fingerprints[app.id]

    def check(self) -> None:
        """Raise AppChanged when an app has imported modules of its own late, which may not fit those from before."""
        late = self._imported() - self._modules
        if late and (what := self._registry.changed()):
            raise AppChanged(f"{what} changed while the app was at work")
        self._modules |= late

    def _imported(self) -> set[str]:
        watch = self._registry.watch
        return set() if watch is None else watch.modules & sys.modules.keys()


def _analyse(apps: LoadedApps, task: Task, servers: DpatServers, teller: Teller) -> bytes:
    """Analyse one slide, and give what is to be sent: a Found or a _Fault."""
    try:
        app, own = apps.ready(task.app_id)
        rests_on = resting_on(own, task.rests_on)
        tags = app.input.tags if isinstance(app.input, TaggedPolygon) else ()
        access = None
        if task.callback_url is not None:
            tokens = ChildTokens(task.token, teller)
            access = DpatAccess(servers, task.callback_url, tokens, include_phi=app.settings.store_phi)
        slide = Slide(
            task.path,
            task.info,
            thumbnail=keep_overview(task.thumbnail, task.info, task.overview_from, access),
            label=task.label,
            drawn=task.drawn,
            tag=tag_of(task.drawn, tags),
            access=access,
            dependency=task.dependency,
        )
        with slide:
            result = plain(run_app(app, slide, teller.progress, rests_on=rests_on))
            apps.check()
            return _packed(Found(result, slide.frame, certain_mpp(slide), rests_on, slide.bounds))
    except SlidehookError as error:
        # Errors of ours go to the worker as what they are; an author's own subclass as the AppError that it is.
        kind = type(error) if type(error).__module__ == SlidehookError.__module__ else AppError
        retry_after_s = error.retry_after_s if isinstance(error, DpatUnavailable) else 0.0
        return _packed(_Fault(kind, in_words(error), retry_after_s=retry_after_s))
    except (Exception, SystemExit) as error:
        # An app may raise anything: the slide gets one sentence, the log the traceback.
        sentence = f"the app has a fault: {type(error).__name__}: {in_words(error)}"
        return _packed(_Fault(AppError, sentence, traceback.format_exc()))


def _packed(message: Found | _Fault) -> bytes:
    """Pickle what is to be sent, since a result that can't be sent must be told as well."""
    content = pickle.dumps(message)
    if len(content) > MAX_RESULT_BYTES:
        raise AppError(
            f"the app's result is too large: {len(content) / 2**20:.0f} MiB, {MAX_RESULT_BYTES >> 20} at most"
        )
    return content
