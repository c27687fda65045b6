"""Runs apps in a child process that can be timed out, stopped and survived.

The child lives on between jobs, so that what an app loads in `setup` stays loaded.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from slidehook.app import App
from slidehook.errors import AppCrashed, AppError, AppTimeout, SlidehookError, SlideUnreadable
from slidehook.geometry import Frame
from slidehook.iaapi.models import ImageInfo
from slidehook.registry import load_apps
from slidehook.result import Result
from slidehook.settings import Settings
from slidehook.slide import Slide

TICK_S = 0.25
"""How often the worker is asked for its own duties while an app computes, in seconds."""
STOP_S = 5.0
_PR_SET_PDEATHSIG = 1


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

        Raises AppError, AppTimeout, AppCrashed, SlideUnreadable. After anything but a plain AppError or
        SlideUnreadable the child is gone.
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
                        raise _told(message)
                    progress(message.percent, message.text)
                tick()
                if time.monotonic() > until:
                    raise AppTimeout(f"the analysis needed longer than {timeout_s:g} s")
        except (EOFError, BrokenPipeError, ConnectionResetError) as error:
            self._process.join(STOP_S)
            self.kill()  # should it have lost its pipe only
            raise AppCrashed(f"the analysis process died ({_ending(self._process.exitcode)})") from error
        except BaseException as error:
            if not isinstance(error, AppError | SlideUnreadable) or isinstance(error, AppTimeout):
                self.kill()
            raise

    def kill(self) -> None:
        """End the child at once."""
        self._process.kill()
        self._process.join()
        self._pipe.close()


class AppTrace(AppError):
    """An app's own fault; carries the child's traceback for the log."""

    trace = ""


def _told(fault: _Fault) -> SlidehookError:
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
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("the worker died before its child began")
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
    except (AppError, SlideUnreadable) as error:
        kind = SlideUnreadable if isinstance(error, SlideUnreadable) else AppError
        return _Fault(kind, str(error), "")
    except Exception as error:
        # An app may raise anything: the slide gets one sentence, the log the traceback.
        return _Fault(AppError, f"the app has a fault: {type(error).__name__}: {error}", traceback.format_exc())
