"""Runs the apps of one job: the apps that its own app depends on, unless their results are known, and its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import structlog

from slidehook.app import App
from slidehook.errors import AppChanged, AppError, AppOutOfMemory, SlidehookError
from slidehook.models import ImageInfo, Input, WholeSlideInput
from slidehook.registry.fingerprint import fingerprint_of
from slidehook.registry.registry import Registry
from slidehook.running.app_process import AppProcess
from slidehook.running.dependency_cache import DependencyCache, dependency_key
from slidehook.running.fetched_slide import FetchedSlide
from slidehook.running.task import Analysis, Task
from slidehook.settings import Settings
from slidehook.systems import OriginTicket, Secrets

log = structlog.get_logger()


class CodeChanged(SlidehookError):
    """The apps have changed on disk: the job goes back to the queue, and this attempt does not count.

    The next attempt runs the changed apps.
    """


class Chain:
    """The apps of one job, in the order in which they are run; the last is the job's own.

    `ticket`: where the job's slide is. `drawn`: what the user drew. `child` returns the process to run an app in; a
    new one if the last one has ended. `began` is called with each app before its first progress, `progress` with
    0…100 of the job and a few words, and `tick` about four times a second; each may raise to stop the chain. `since`:
    results from before this time (seconds since 1970) are not reused, because they may be of other files. Without
    `limited`, apps may take any time and memory.
    """

    def __init__(
        self,
        ticket: OriginTicket,
        drawn: Input,
        *,
        registry: Registry,
        secrets: Secrets,
        dependency_cache: DependencyCache,
        settings: Settings,
        child: Callable[[], AppProcess],
        progress: Callable[[float, str], None],
        tick: Callable[[], None],
        began: Callable[[App], None] = lambda _: None,
        since: float = 0.0,
        limited: bool = True,
    ) -> None:
        self._ticket = ticket
        self._drawn = drawn
        self._began = began
        self._since = since
        self._limited = limited
        self._registry = registry
        self._own = registry[ticket.app_id]
        self._apps = [*registry.before(self._own), self._own]
        self._wanted = {app.depends_on for app in registry.values()}
        self._secrets = secrets
        self._dependency_cache = dependency_cache
        self._settings = settings
        self._child = child
        self._progress = progress
        self._tick = tick

    def left(self, info: ImageInfo) -> tuple[Sequence[App], Analysis | None]:
        """Return the apps that must still run on a slide, and the result of the app before them, if that is known."""
        for first in range(len(self._apps) - 1, 0, -1):
            found = self._dependency_cache.find(self._key(info, self._apps[first - 1]), since=self._since)
            if found is not None:
                log.info("found before", app=self._apps[first - 1].id)
                return self._apps[first:], found
        return self._apps, None

    def run(self, apps: Sequence[App], fetched: FetchedSlide, before: Analysis | None) -> Analysis:
        """Run the apps that `left` returned on the fetched slide; returns the analysis of the job's own app."""
        share = 100 / len(apps)
        for number, app in enumerate(apps[:-1]):
            before = self._run(app, fetched, before, begin=number * share, share=share)
        return self._run(self._own, fetched, before, begin=100 - share, share=share)

    def _run(
        self, app: App, fetched: FetchedSlide, before: Analysis | None, *, begin: float, share: float
    ) -> Analysis:
        """Run one app; its progress is `share` percent of the whole, from `begin` on."""
        who = "" if app is self._own else f"{app.name}: "
        self._began(app)
        self._progress(begin, f"{who}analysing")
        log.info("analysis begins", app=app.id)

        def progress(percent: float, text: str) -> None:
            self._progress(begin + share * percent / 100, f"{who}{text}")

        try:
            found = self._analyse(app, self._task(app, fetched, before), progress)
        except AppError as error:
            if error.trace:
                log.error("the app has a fault", exception=error.trace)
            if app is not self._own:
                reported = type(error)(f"{app.name}, which has to be run first: {error}")
                reported.trace = error.trace
                raise reported from error
            raise
        if app.id in self._wanted and found.rests_on == self._rests_on(app):
            self._dependency_cache.keep(self._key(fetched.info, app), found)
        return found

    def _task(self, app: App, fetched: FetchedSlide, before: Analysis | None) -> Task:
        """Return the task of an app, with what it needs and nothing else."""
        return Task(
            app.id,
            fetched.path_for(app),
            fetched.info,
            fetched.thumbnail if "thumbnail" in app.needs else None,
            overview_from=fetched.path,
            label=fetched.label if "label" in app.needs else None,
            drawn=self._drawn if app is self._own else WholeSlideInput(),
            origin=self._ticket,
            secret=self._secrets.secret(),
            dependency=before.result if before else None,
            rests_on=before.rests_on if before else "",
        )

    def _analyse(self, app: App, task: Task, progress: Callable[[float, str], None]) -> Analysis:
        timeout_s = (app.timeout or self._settings.job_timeout.total_seconds()) if self._limited else math.inf
        other_code = False
        while True:
            process = self._child()
            try:
                found = process.analyse(
                    task,
                    timeout_s=timeout_s,
                    memory_gb=app.memory_gb if self._limited else None,
                    progress=progress,
                    tick=self._tick,
                    another_token=self._secrets.instead_of,
                )
            except AppOutOfMemory:
                if process.analyses == 1:
                    raise
                # Earlier analyses may have left data in memory: a new process may need less.
                log.warning("out of memory, again in a new process", app=app.id)
                continue
            except AppError as error:
                self._check_unchanged()
                if other_code or not isinstance(error, AppChanged):
                    raise
            else:
                if found.rests_on == self._rests_on(app):
                    return found
                self._check_unchanged()
                if other_code:
                    return found
            # The process loaded code that was on disk only for a while: a new one loads the present code.
            process.kill()
            other_code = True
            log.warning("the app's process has other code than this worker, again in a new process", app=app.id)

    def _check_unchanged(self) -> None:
        if what := self._registry.changed():
            raise CodeChanged(f"changed on disk: {what}")

    def _rests_on(self, app: App) -> str:
        return fingerprint_of(self._apps[: self._apps.index(app) + 1])

    def _key(self, info: ImageInfo, app: App) -> str:
        return dependency_key(self._ticket.address, info, self._apps[: self._apps.index(app) + 1])
