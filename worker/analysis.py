"""Runs apps in a child process that can be timed out, stopped and survived.

The child lives on between jobs, so that what an app loads in `setup` stays loaded.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from slidehook.app import App
from slidehook.errors import AppCrashed, AppError, AppTimeout, SlidehookError
from slidehook.geometry import Frame
from slidehook.iaapi.models import ImageInfo
from slidehook.registry import load_apps
from slidehook.result import Result
from slidehook.settings import Settings
from slidehook.slide import Slide
from worker.supervisor import end_with

TICK_S = 0.25
"""How often the worker is asked for its own duties while an app computes, in seconds."""
STOP_S = 5.0
"""How long a child that closed its pipe may take to die, in seconds."""


@dataclass(frozen=True)
class Task:
    """What a child is to analyse."""

    app_id: str
    path: Path
    info: ImageInfo
    thumbnail: Path | None


@dataclass(frozen=True)
class _Step:
    percent: float
    text: str


@dataclass(frozen=True)
class Found:
    """What an app found, and the slide's extent in level-0 pixels that it counted in."""

    result: Result
    frame: Frame


@dataclass(frozen=True)
class _Fault:
    error: type[SlidehookError]
    sentence: str
    trace: str


class AppProcess:
    """One child process. It dies with its parent, also when that is killed."""

    def __init__(self, settings: Settings) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, settings, os.getpid()), name="app")
        self._process.start()
        theirs.close()

    @property
    def pid(self) -> int | None:
        """The child's process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the child runs."""
        return self._process.is_alive()

    def analyse(
        self,
        task: Task,
        *,
        timeout_s: float,
        progress: Callable[[float, str], None],
        tick: Callable[[], None],
    ) -> Found:
        """Have one slide analysed; `tick` is called about four times a second and may raise to stop it.

        Raises what the app raised as an AppError, errors of ours as they are, AppTimeout and AppCrashed. After
        anything that the child did not tell itself, it is gone.
        """
        until = time.monotonic() + timeout_s
        try:
            self._pipe.send(task)
            while True:
                if self._pipe.poll(TICK_S):
                    message = self._pipe.recv()
                    if isinstance(message, Found):
                        return message
                    if isinstance(message, _Fault):
                        raise _Told(_error(message))
                    progress(message.percent, message.text)
                tick()
                if time.monotonic() > until:
                    raise AppTimeout(f"the analysis needed longer than {timeout_s:g} s")
        except (EOFError, BrokenPipeError, ConnectionResetError) as error:
            self._end()
            raise AppCrashed(f"the analysis process died ({_ending(self._process.exitcode)})") from error
        except _Told as told:
            raise told.error from None
        except BaseException:
            self.kill()
            raise

    def _end(self) -> None:
        """Give a child whose pipe is closed the time to die of itself, which tells why; then kill it."""
        until = time.monotonic() + STOP_S
        # Not `join`: of a child that closed its files but lives on, that waits for ever.
        while self._process.is_alive() and time.monotonic() < until:
            time.sleep(0.01)
        self.kill()

    def kill(self) -> None:
        """End the child at once."""
        self._process.kill()
        self._process.join()
        self._pipe.close()


class AppTrace(AppError):
    """An app's own fault; carries the child's traceback for the log."""

    trace = ""


class _Told(Exception):
    """An error that the child lived to tell."""

    def __init__(self, error: SlidehookError) -> None:
        self.error = error


def _error(fault: _Fault) -> SlidehookError:
    if fault.trace:
        error = AppTrace(fault.sentence)
        error.trace = fault.trace
        return error
    return fault.error(fault.sentence)


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"exit status {code}"


# --- in the child


def _serve(pipe: Connection, settings: Settings, parent: int) -> None:
    """Analyse what comes through the pipe until it closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    end_with(parent, signal.SIGKILL)
    apps = load_apps(settings)
    ready: set[str] = set()
    while True:
        try:
            task: Task = pipe.recv()
        except EOFError:
            return
        pipe.send(_analyse(apps.get(task.app_id), task, ready, pipe))


def _analyse(app: App | None, task: Task, ready: set[str], pipe: Connection) -> Found | _Fault:
    if app is None:
        return _Fault(AppError, f"the app {task.app_id} does not load on this worker", "")

    def progress(percent: float, text: str = "") -> None:
        pipe.send(_Step(max(0.0, min(100.0, float(percent))), str(text) or "analysing"))

    try:
        if app.id not in ready:
            app.setup()
            ready.add(app.id)
        with Slide(task.path, task.info, thumbnail=task.thumbnail) as slide:
            result = app.analyze(slide, progress)
            if not isinstance(result, Result):
                raise TypeError(f"analyze gave {type(result).__name__}, not a Result")
            return Found(result, slide.frame)
    except SlidehookError as error:
        # Errors of ours go to the worker as what they are; an author's own subclass as the AppError that it is.
        kind = type(error) if type(error).__module__ == SlidehookError.__module__ else AppError
        return _Fault(kind, str(error), "")
    except (Exception, SystemExit) as error:
        # An app may raise anything: the slide gets one sentence, the log the traceback.
        return _Fault(AppError, f"the app has a fault: {type(error).__name__}: {error}", traceback.format_exc())
