"""The process that runs apps: it carries out its worker's tasks until the line between them closes."""

from __future__ import annotations

import faulthandler
import os
import pickle
import signal
import sys
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection

from slidehook.app import App, TaggedPolygon
from slidehook.errors import AppChanged, AppError, SlidehookError, SystemUnavailable
from slidehook.logs import set_up_logging
from slidehook.regions import tag_of
from slidehook.registry.fingerprint import fingerprint, resting_on
from slidehook.registry.registry import Registry, load_apps
from slidehook.results.sanitize import in_words, sanitize_result
from slidehook.running.child_channel import ChildReporter, ChildSecrets
from slidehook.running.child_output import flush_prints, print_into
from slidehook.running.environment import begin_apps_process
from slidehook.running.message_pipe import HungUp, Line
from slidehook.running.overview import keep_overview
from slidehook.running.process_tree import adopt_orphans, end_with
from slidehook.running.run_app import certain_mpp, run_app
from slidehook.running.task import Analysis, Fault, Task
from slidehook.settings import Settings
from slidehook.slide import Slide
from slidehook.systems import Access, Systems

MAX_RESULT_BYTES = 64 * 1024 * 1024
"""The largest result that may be sent: a few million points."""
APP_HAS_A_FAULT = "the app has a fault"
"""The beginning of the sentence on an app's own fault."""
_LEFT_TO_THE_WORKER = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def serve(pipe: Line, prints: Connection, settings: Settings, parent: int) -> None:
    """Carry out the tasks that come through the line until it closes."""
    print_into(prints)
    set_up_logging(timed=False)  # the worker's log adds the time
    begin_apps_process()
    faulthandler.enable()  # logs Python's stack after a fault in native code
    pipe.keep_to_this_process()
    os.setpgid(0, 0)
    adopt_orphans()
    leave_signals_to_the_worker()
    end_with(parent, signal.SIGKILL)
    analyse_all(pipe, LoadedApps(load_apps(settings)), settings, _whole_trace)


def analyse_all(pipe: Line, apps: LoadedApps, settings: Settings, trace: Callable[[BaseException], str]) -> None:
    """Carry out tasks until the line closes; `trace` formats the traceback of an app's own fault."""
    systems = Systems(settings)
    while True:
        try:
            task: Task = pipe.recv()
        except HungUp:
            return
        reporter = ChildReporter(pipe)
        message = _analyse(apps, task, systems, reporter, trace)
        flush_prints()
        reporter.end(message)


def _whole_trace(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


def leave_signals_to_the_worker() -> None:
    """Survive the signals that stop a worker: the worker ends this process after it has returned its job.

    The signals are handled, not ignored: an app's children would inherit ignored signals and survive `terminate`.
    """
    for number in _LEFT_TO_THE_WORKER:
        signal.signal(number, lambda *_: None)
        signal.siginterrupt(number, False)
    # Signals are blocked during a fork: one may arrive before the new process has restored the default action.
    os.register_at_fork(before=_hold_back, after_in_parent=_let_through, after_in_child=_end_by_signals)


def _hold_back() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, _LEFT_TO_THE_WORKER)


def _let_through() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _LEFT_TO_THE_WORKER)


def _end_by_signals() -> None:
    for number in _LEFT_TO_THE_WORKER:
        signal.signal(number, signal.SIG_DFL)
    _let_through()


class LoadedApps:
    """The apps of one child, each with its fingerprint at the time of its setup."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._fingerprints: dict[str, str] = {}
        self._modules = self._imported()

    def ready(self, app_id: str) -> tuple[App, str]:
        """Return an app that is set up, and its fingerprint; raises what `setup` raises, and AppChanged."""
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
        """Raise AppChanged when an app has imported some of its modules after they changed on disk."""
        late = self._imported() - self._modules
        if late and (what := self._registry.changed()):
            raise AppChanged(f"{what} changed while the app was at work")
        self._modules |= late

    def _imported(self) -> set[str]:
        watch = self._registry.watch
        return set() if watch is None else watch.modules & sys.modules.keys()


def _analyse(
    apps: LoadedApps, task: Task, systems: Systems, reporter: ChildReporter, trace: Callable[[BaseException], str]
) -> bytes:
    """Analyse one slide; returns the pickled Analysis or Fault."""
    try:
        app, own = apps.ready(task.app_id)
        rests_on = resting_on(own, task.rests_on)
        tags = app.input.tags if isinstance(app.input, TaggedPolygon) else ()
        origin = None
        if task.origin is not None:
            access = Access(ChildSecrets(task.secret, reporter))
            origin = systems[task.origin.system].origin(task.origin, access)
        slide = Slide(
            task.path,
            task.info,
            thumbnail=keep_overview(task.thumbnail, task.info, task.overview_from, origin),
            label=task.label,
            drawn=task.drawn,
            tag=tag_of(task.drawn, tags),
            origin=origin,
            dependency=task.dependency,
        )
        with slide:
            result = sanitize_result(run_app(app, slide, reporter.progress, rests_on=rests_on))
            apps.check()
            return _packed(Analysis(result, slide.frame, certain_mpp(slide), rests_on, slide.bounds))
    except SlidehookError as error:
        kind = type(error) if is_slidehooks_own(type(error)) else AppError
        retry_after_s = error.retry_after_s if isinstance(error, SystemUnavailable) else 0.0
        return _packed(Fault(kind, in_words(error), retry_after_s=retry_after_s))
    except (Exception, SystemExit) as error:
        # An app may raise anything: the slide shows one sentence, the log has the traceback.
        sentence = f"{APP_HAS_A_FAULT}: {type(error).__name__}: {in_words(error)}"
        return _packed(Fault(AppError, sentence, trace(error)))


def is_slidehooks_own(kind: type[SlidehookError]) -> bool:
    """Whether an error's class reaches the worker unchanged; an app's own class arrives as AppError.

    The worker can import slidehook's modules; importing an app's module could run the app's code in the worker.
    """
    return kind.__module__.startswith("slidehook.") and not kind.__module__.startswith("slidehook.apps.")


def _packed(message: Analysis | Fault) -> bytes:
    """Pickle a message before it is sent, so that a failure to do so can be reported."""
    content = pickle.dumps(message)
    if len(content) > MAX_RESULT_BYTES:
        raise AppError(
            f"the app's result is too large: {len(content) / 2**20:.0f} MiB, {MAX_RESULT_BYTES >> 20} at most"
        )
    return content
