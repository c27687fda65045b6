"""Calls apps' `on_modify` in child processes, which can be killed: an app may hang or exit."""

from __future__ import annotations

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
from slidehook.running.environment import begin_apps_process, environment_for_apps
from slidehook.running.process_tree import end_with
from slidehook.settings import Settings, settings_for_apps

START_S = 15.0
"""The time limit of a child's start, in seconds."""
END_S = 5.0
"""How long to wait for a killed child to exit, in seconds."""
IDLE = 2
"""How many idle children are kept. Each takes a second to start, and about 80 MB."""
log = structlog.get_logger()


@dataclass(frozen=True)
class _Request:
    """A user's change, with everything that a fresh process needs to create the app."""

    app: type[App]
    settings: Settings | None
    params: BaseModel
    changed_result: Result


@dataclass(frozen=True)
class _Fault:
    """Why there is no answer; `trace` is the traceback of an unexpected exception."""

    sentence: str
    trace: str = ""


class OnModifyCaller:
    """Calls `on_modify`; a child serves one call at a time. Thread-safe."""

    def __init__(self) -> None:
        self._idle: list[tuple[str, _Child]] = []
        self._lock = threading.Lock()

    def ask(self, app: App, changed_result: Result, *, within_s: float) -> Result:
        """Return the app's answer; raises AppError for any exception of the app, AppTimeout after `within_s` seconds.

        A child that did not answer is killed together with its own children.
        """
        settings: Settings | None = getattr(app, "settings", None)
        kept = None if settings is None else settings_for_apps(settings)
        question = bytes(ForkingPickler.dumps(_Request(type(app), kept, app.params, changed_result)))
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
        """Return an idle child that has loaded the same code, or start one."""
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
    """One child process; it leads its own process group and dies with this process."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, child_pipe = context.Pipe()
        self._process = context.Process(target=_serve, args=(child_pipe, os.getpid()), name="on_modify", daemon=True)
        with environment_for_apps():
            self._process.start()
        child_pipe.close()
        if self._receive(START_S) is not True:
            self.end()
            raise AppError("the app's process for changes did not start")

    @property
    def alive(self) -> bool:
        return self._process.is_alive()

    def answer(self, question: bytes, within_s: float) -> Result | _Fault:
        try:
            self._pipe.send_bytes(question)
        except OSError as error:
            raise AppError("the app's process for changes has ended") from error
        message = self._receive(within_s)
        if message is None:
            raise AppTimeout(f"the app took longer than {within_s:g} s to answer the change")
        if not isinstance(message, Result | _Fault):
            raise AppError("the app ended its process instead of answering the change")
        return message

    def _receive(self, within_s: float) -> object:
        """Return the next message; None if none arrived in time, False if the child has ended."""
        try:
            return self._pipe.recv() if self._pipe.poll(within_s) else None
        except (EOFError, OSError):
            return False

    def end(self) -> None:
        """Kill the child and its process group."""
        with suppress(ProcessLookupError, PermissionError):
            if self._process.pid is not None and os.getpgid(self._process.pid) == self._process.pid:
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()
        self._process.join(END_S)
        self._pipe.close()


ON_MODIFY = OnModifyCaller()
"""This process's instance. Its children die with this process."""


def _serve(pipe: Connection, parent: int) -> None:
    """Serve requests until the parent closes the pipe."""
    begin_apps_process()
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    end_with(parent, signal.SIGKILL)
    pipe.send(True)
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            pipe.send(_call_on_modify(pipe.recv_bytes()))


def _call_on_modify(question: bytes) -> Result | _Fault:
    try:
        request: _Request = ForkingPickler.loads(question)
        app = request.app()
        if request.settings is not None:
            app.settings = request.settings
        app.params = request.params
        answer: object = app.on_modify(request.changed_result)
        if not isinstance(answer, Result):
            return _Fault(f"the app has a fault: on_modify returned {type(answer).__name__}, not a Result")
        return sanitize_result(answer)
    except SlidehookError as error:
        return _Fault(in_words(error))
    except (Exception, SystemExit) as error:
        # An app may raise anything: the slide shows one sentence, the log has the traceback.
        return _Fault(f"the app has a fault: {type(error).__name__}: {in_words(error)}", traceback.format_exc())
