"""Asks apps to answer users' changes, in child processes that can be ended: an app may hang, or leave the program."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import threading
import traceback
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler

import structlog
from pydantic import BaseModel

from slidehook.app import App
from slidehook.errors import AppError, AppTimeout, SlidehookError
from slidehook.registry.fingerprint import fingerprint
from slidehook.result import Result
from slidehook.results.sanitize import in_words, sanitize_result
from slidehook.running.environment import begin_apps_process, environment_for_apps, settings_for_apps
from slidehook.settings import Settings

START_S = 15.0
"""How long a child may take to be there, in seconds."""
END_S = 5.0
"""How long a child that is killed may take to die, in seconds."""
IDLE = 2
"""How many children wait for the next change. One costs a second to start, and some 80 MB."""
_PR_SET_PDEATHSIG = 1
log = structlog.get_logger()


@dataclass(frozen=True)
class _Question:
    """A change, and what makes the app that answers it, in a process that has not loaded any."""

    app: type[App]
    settings: Settings | None
    params: BaseModel
    asked: Result


@dataclass(frozen=True)
class _Fault:
    """Why there is no answer; `trace` of what an app did not raise on purpose."""

    sentence: str
    trace: str = ""


class Asker:
    """Has `on_modify` answered, each question in a child of its own. Safe for several threads."""

    def __init__(self) -> None:
        self._idle: list[tuple[str, _Child]] = []
        self._lock = threading.Lock()

    def ask(self, app: App, asked: Result, *, within_s: float) -> Result:
        """Give the app's answer; raises AppError whatever it raises, AppTimeout when it is not quick enough.

        A child that did not answer is ended, with what it has started.
        """
        settings: Settings | None = getattr(app, "settings", None)
        kept = None if settings is None else settings_for_apps(settings)
        question = bytes(ForkingPickler.dumps(_Question(type(app), kept, app.params, asked)))
        code = fingerprint(app)
        child = self._child(code)
        try:
            answer = child.answer(question, within_s)
        except BaseException:
            child.end()
            raise
        self._keep(code, child)
        if isinstance(answer, Result):
            return answer
        if answer.trace:
            log.error("the app has a fault", app=app.id, trace=answer.trace)
        raise AppError(answer.sentence)

    def _child(self, code: str) -> _Child:
        """Take a child that has loaded this very code, or start one."""
        while True:
            with self._lock:
                found = next((each for each in self._idle if each[0] == code), None)
                if found is not None:
                    self._idle.remove(found)
            if found is None:
                return _Child()
            if found[1].alive:
                return found[1]
            found[1].end()

    def _keep(self, code: str, child: _Child) -> None:
        with self._lock:
            self._idle.append((code, child))
            over = self._idle[:-IDLE]
            self._idle = self._idle[-IDLE:]
        for _, each in over:
            each.end()


class _Child:
    """One process, which leads a group of its own and dies with this one."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, os.getpid()), name="on_modify", daemon=True)
        with environment_for_apps():
            self._process.start()
        theirs.close()
        if self._hear(START_S) is not True:
            self.end()
            raise AppError("the process that asks the app did not start")

    @property
    def alive(self) -> bool:
        return self._process.is_alive()

    def answer(self, question: bytes, within_s: float) -> Result | _Fault:
        try:
            self._pipe.send_bytes(question)
        except OSError as error:
            raise AppError("the process that asks the app has ended") from error
        heard = self._hear(within_s)
        if heard is None:
            raise AppTimeout(f"the app needed longer than {within_s:g} s to answer the change")
        if not isinstance(heard, Result | _Fault):
            raise AppError("the app ended its process instead of answering the change")
        return heard

    def _hear(self, within_s: float) -> object:
        """Give the next message; None when none came in time, False when the child has ended."""
        try:
            return self._pipe.recv() if self._pipe.poll(within_s) else None
        except (EOFError, OSError):
            return False

    def end(self) -> None:
        """End the child, and all of its group."""
        with suppress(ProcessLookupError, PermissionError):
            if self._process.pid is not None and os.getpgid(self._process.pid) == self._process.pid:
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()
        self._process.join(END_S)
        self._pipe.close()


ASKER = Asker()
"""The one of this process. Its children end with it."""


def _serve(pipe: Connection, parent: int) -> None:
    """Answer questions until there is nobody to ask any."""
    begin_apps_process()
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        return
    pipe.send(True)
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            pipe.send(_answered(pipe.recv_bytes()))


def _answered(question: bytes) -> Result | _Fault:
    try:
        told: _Question = ForkingPickler.loads(question)
        app = told.app()
        if told.settings is not None:
            app.settings = told.settings
        app.params = told.params
        answer: object = app.on_modify(told.asked)
        if not isinstance(answer, Result):
            return _Fault(f"the app has a fault: on_modify gave {type(answer).__name__}, not a Result")
        return sanitize_result(answer)
    except SlidehookError as error:
        return _Fault(in_words(error))
    except (Exception, SystemExit) as error:
        # An app may raise anything: the slide gets one sentence, the log the traceback.
        return _Fault(f"the app has a fault: {type(error).__name__}: {in_words(error)}", traceback.format_exc())
