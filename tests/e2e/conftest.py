"""A whole site for each test: the webserver and the workers by their own scripts, and a DPAT that they serve."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import ssl
import subprocess
import sys
import uuid
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from slidehook.jobs.files.names import JobName
from slidehook.jobs.job import JobRecord, JobState, parse_record
from slidehook.simulator.invoking import Answer
from slidehook.simulator.options import Options
from slidehook.simulator.server import Simulator
from tests.e2e.running import HOUSE, Program, end_all, files_below, free_port, wait_for

APP = "wholeslide"
ROUTE = "/dpat_ia_app_demo/wholeslide"
LOG_LINES = 60
LONG_S = "600"
_running: list[Site] = []


@dataclass(frozen=True)
class JobFile:
    """A job as its file tells it."""

    state: JobState
    attempt: int
    record: JobRecord
    path: Path


class Site:
    """A queue, and the programs that work with it. `settings` are SLIDEHOOK_… without that prefix."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.queue, self.data, self.logs = folder / "queue", folder / "data", folder / "logs"
        self.elsewhere = folder / "elsewhere"
        for each in (self.logs, self.elsewhere):
            each.mkdir(parents=True)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.mark = uuid.uuid4().hex
        self.programs: list[Program] = []
        self._env = {
            "SLIDEHOOK_HOST": "127.0.0.1",
            "SLIDEHOOK_PORT": str(self.port),
            "SLIDEHOOK_QUEUE_DIR": str(self.queue),
            "SLIDEHOOK_DATA_DIR": str(self.data),
            "SLIDEHOOK_DEMO_SECONDS": "0",
            "SLIDEHOOK_MIN_FREE_GB": "0",  # how full this machine's disk is says nothing of the code
            **_prefixed(settings),
        }
        _running.append(self)

    def start(self, script: str, *options: str, within: Sequence[str] = (), **settings: str) -> Program:
        """Start one of the scripts, from a working directory that is not the checkout; `within` another command."""
        name = script.removesuffix("_run.sh")
        log = self.logs / f"{name}-{len(self.programs)}.log"
        env = self._env | _prefixed(settings)
        program = Program(
            [*within, str(HOUSE / script), *options], env=env, mark=self.mark, log=log, cwd=self.elsewhere
        )
        self.programs.append(program)
        return program

    def start_web(self) -> Program:
        """Start the webserver, and wait until it answers."""
        web = self.start("flask_run.sh")
        wait_for(lambda: self._answers(web), "the webserver answers")
        return web

    def start_worker(self, *options: str, within: Sequence[str] = (), **settings: str) -> Program:
        """Start a worker, and wait until it is ready."""
        worker = self.start("worker_run.sh", *options, within=within, **settings)
        wait_for(lambda: self._is_ready(worker), "the worker is ready")
        return worker

    def types(self, *words: str) -> str:
        """Run `slidehook` as an operator of this site does, and give what it prints."""
        command = [str(Path(sys.executable).with_name("slidehook")), *words]
        env = {**os.environ, **self._env}
        return subprocess.run(command, env=env, cwd=self.elsewhere, check=True, capture_output=True, text=True).stdout

    def stop(self) -> None:
        """End everything at once."""
        try:
            end_all(self.mark)
            for program in self.programs:
                program.ended()
        finally:
            _running.remove(self)

    def post(self, body: Any, path: str = "", *, raw: bytes | None = None) -> requests.Response:
        """POST to the app as DPAT does."""
        data = json.dumps(body).encode() if raw is None else raw
        headers = {"Content-Type": "application/json"}
        return requests.post(self.url + ROUTE + path, data=data, headers=headers, timeout=90)

    def get(self, path: str, accept: str = "application/json") -> requests.Response:
        """GET one of the webserver's pages."""
        return requests.get(self.url + path, headers={"Accept": accept}, timeout=90)

    def jobs(self, slide_id: str) -> list[JobFile]:
        """Return the slide's jobs in every state."""
        found = []
        for state in JobState:
            for path in files_below(self.queue / state):
                # A job may be renamed while it is looked at.
                with contextlib.suppress(FileNotFoundError):
                    name = JobName.parse(state, path.name)
                    if name is not None:
                        found.append(JobFile(state, name.attempt, parse_record(path.read_bytes()), path))
        return [each for each in found if each.record.job.slide_id == slide_id]

    def job_in(self, state: JobState, slide_id: str) -> JobFile:
        """Wait until the slide's one job has come to `state`."""

        def there() -> JobFile | None:
            jobs = self.jobs(slide_id)
            return jobs[0] if [each.state for each in jobs] == [state] else None

        return wait_for(there, f"the slide's job is {state}") or pytest.fail("no job")

    def small_data(self, slide_id: str) -> Path:
        """Return the folder that keeps the small data of the slide's one job."""
        ids = {each.record.job.id for each in self.jobs(slide_id)}  # of a job that moves just now, both names
        (job_id,) = ids
        return self.data / "jobs" / job_id

    def keeps_no_slide(self) -> bool:
        """Return whether no file of any slide is left on the site's disk; it goes a moment after the job's end."""
        return wait_for(lambda: not files_below(self.data / "slides"), "the slides are gone")

    def _answers(self, web: Program) -> bool:
        assert web.process.poll() is None, "the webserver ended"
        with contextlib.suppress(requests.ConnectionError, requests.Timeout):
            return requests.get(f"{self.url}/healthz", timeout=5).ok
        return False

    def _is_ready(self, worker: Program) -> bool:
        assert worker.process.poll() is None, "the worker ended"
        return "worker ready" in worker.text()


class Dpat(Simulator):
    """A DPAT in which an administrator has registered and enabled the site's app."""

    def __init__(
        self,
        folder: Path,
        samples: Path,
        site: Site,
        options: Options | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        folder.mkdir(parents=True)
        super().__init__(folder, options or Options(strict=True), tls=tls)
        self._samples = samples
        self._site = site

    def open(self) -> None:
        """Register and enable the app; the webserver must run."""
        self.register(self._site.url + ROUTE)
        self.enable(APP, notifications=True)

    def add_slide(self, like: str = "immuno", **record: Any) -> str:
        """Put a slide there, which nobody else has; `record` is what its image record says beside what it is."""
        slide_id = f"{like}-{uuid.uuid4().hex[:8]}"
        if (folder := self._samples / like).is_dir():
            shutil.copytree(folder, self.folder.folder / slide_id)
        else:
            shutil.copy(self._samples / f"{like}.tiff", self.folder.folder / f"{slide_id}.tiff")
        (self.folder.folder / f"{slide_id}.json").write_text(json.dumps(record))
        return slide_id

    def create(self, slide_id: str) -> Answer:
        """Do as a user does who chooses the app on the slide."""
        return self.invoke(APP, slide_id)

    def shown(self, slide_id: str) -> dict[str, Any]:
        """Return the one result that the slide has, with its history."""
        (result,) = self.results(APP, slide_id)
        return result

    def final(self, slide_id: str, *, within_s: float = 90.0) -> dict[str, Any]:
        """Wait until the slide's one result is neither queued nor in progress."""

        def ended() -> bool:
            results = self.results(APP, slide_id)
            return bool(results) and "Progress (%)" not in results[-1]["displayProperties"]

        assert self.wait_until(ended, within_s), f"{slide_id} has no final result: {self.results(APP, slide_id)}"
        return self.shown(slide_id)

    def body(self, slide_id: str, **changes: Any) -> dict[str, Any]:
        """Return the body of a `create` as DPAT sends it, with fields changed."""
        return {
            "action": "create",
            "applicationId": APP,
            "slideId": slide_id,
            "callbackInfo": {"url": self.callback_url, "token": self.token()},
            "context": None,
            "input": {"type": "wholeSlide"},
        } | changes


def _prefixed(settings: dict[str, str]) -> dict[str, str]:
    return {f"SLIDEHOOK_{name.upper()}": value for name, value in settings.items()}


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The usual site: a webserver and a worker that gives no job a second attempt. Shared: leave it running."""
    with running_site(tmp_path_factory.mktemp("site"), max_attempts="1") as site:
        site.start_web()
        site.start_worker()
        yield site


@pytest.fixture(scope="session")
def quiet_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A webserver without workers: what is queued stays queued. Shared."""
    with running_site(tmp_path_factory.mktemp("quiet")) as site:
        site.start_web()
        yield site


@contextlib.contextmanager
def running_site(folder: Path, **settings: str) -> Generator[Site]:
    """A site of its own settings, nothing of it running yet; it is ended whatever happens."""
    site = Site(folder, **settings)
    try:
        yield site
    finally:
        site.stop()


@pytest.fixture
def new_site(tmp_path: Path) -> Iterator[Callable[..., Site]]:
    """Make sites of this test's own, nothing of them running yet."""
    with contextlib.ExitStack() as stack:

        def make(**settings: str) -> Site:
            folder = tmp_path / f"site-{uuid.uuid4().hex[:4]}"
            return stack.enter_context(running_site(folder, **{"web_processes": "1"} | settings))

        yield make


@pytest.fixture
def new_dpat(tmp_path: Path, sample_slides: Path) -> Iterator[Callable[..., Dpat]]:
    """Make DPATs for this test, each with no slide yet and with a site's app registered."""
    with contextlib.ExitStack() as stack:

        def make(site: Site, options: Options | None = None, tls: ssl.SSLContext | None = None) -> Dpat:
            folder = tmp_path / f"dpat-{uuid.uuid4().hex[:4]}"
            dpat = stack.enter_context(Dpat(folder, sample_slides, site, options, tls))
            dpat.open()
            return dpat

        yield make


@pytest.fixture
def dpat(site: Site, new_dpat: Callable[..., Dpat]) -> Dpat:
    """A DPAT that the usual site serves."""
    return new_dpat(site)


@pytest.fixture
def quiet_dpat(quiet_site: Site, new_dpat: Callable[..., Dpat]) -> Dpat:
    """A DPAT that the quiet site serves."""
    return new_dpat(quiet_site)


@pytest.fixture
def busy_site(new_site: Callable[..., Site]) -> Site:
    """A site of this test's own, whose app computes for long, and no worker yet."""
    site = new_site(web_processes="2", demo_seconds=LONG_S)
    site.start_web()
    return site


@pytest.fixture
def busy_dpat(busy_site: Site, new_dpat: Callable[..., Dpat]) -> Dpat:
    """A DPAT that the busy site serves."""
    return new_dpat(busy_site)


def compute(site: Site, dpat: Dpat, slide_id: str) -> Program:
    """Start a worker of a busy site, and wait until the app computes for the slide."""
    worker = site.start_worker()
    dpat.create(slide_id)
    wait_for(lambda: "percent=60" in worker.text(), "the app computes")
    return worker


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the end of every running program's log below a failure."""
    report = yield
    if report.failed:
        for site in _running:
            for program in site.programs:
                report.sections.append((program.log.name, "\n".join(program.text().splitlines()[-LOG_LINES:])))
    return report
