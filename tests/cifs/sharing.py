"""Several kernels that share one queue directory: what they run, what that says, and what is left on the share."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from slidehook.jobs.job import JobState

HERE = Path(__file__).resolve().parent
HOUSE = HERE.parents[1]
GUESTS = (1, 2)
SHARE = Path("/share")
"""Where every guest sees the share."""
HOST = "10.0.2.2"
"""By what name a guest reaches this machine's 127.0.0.1."""
LOOK_S = 0.05

KEEPALIVE = (
    "socket options = TCP_NODELAY SO_KEEPALIVE TCP_KEEPIDLE=5 TCP_KEEPINTVL=2 TCP_KEEPCNT=3 TCP_USER_TIMEOUT=10000"
)
"""The last (ms) is for a host that dies while an answer is on its way to it.

As long as that is not acknowledged, Linux sends no keepalives: it sends the answer again, for a quarter of an hour.
"""
PLAIN, NOLEASE, NOBRL = "vers=3.1.1", "vers=3.1.1,nolease", "vers=3.1.1,nobrl"
"""How the share is mounted: as it comes, as docs/queue.md advises, and without locks between hosts."""

LAB_WARNINGS = pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")
"""The lab keeps its processes by their ids alone, of which Python warns."""

T = TypeVar("T")


def load_lab(folder: Path) -> Any:
    """Import the lab's module from where it lies."""
    spec = importlib.util.spec_from_file_location("cifslab", folder / "lab.py")
    if spec is None or spec.loader is None:
        raise FileNotFoundError(f"no lab in {folder}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def has_wide_registers() -> bool:
    """Return whether User-Mode Linux 6.1 needs `wide_registers.c` on this CPU."""
    return " amx_tile" in Path("/proc/cpuinfo").read_text(encoding="ascii")


def wrap_linux(folder: Path) -> None:
    """Put a `linux.uml` into `folder` that gets on with this CPU's registers."""
    library = folder / "wide_registers.so"
    command = ["cc", "-O2", "-shared", "-fPIC", "-o", str(library), str(HERE / "wide_registers.c")]
    subprocess.run(command, check=True)
    wrapper = folder / "linux.uml"
    wrapper.write_text(f'#!/bin/sh\nLD_PRELOAD={library} exec {shutil.which("linux.uml")} "$@"\n')
    wrapper.chmod(0o700)


def wait_for(condition: Callable[[], T], what: str, *, within_s: float, told: Callable[[], str] = str) -> T:
    """Ask `condition` until it gives something true, and give that; fails after `within_s` s with what is `told`."""
    until = time.monotonic() + within_s
    while not (found := condition()):
        assert time.monotonic() < until, f"not within {within_s:g} s: {what}\n{told()}"
        time.sleep(LOOK_S)
    return found


@dataclass(frozen=True)
class Said:
    """A line that a driver printed: `<what> <words …> <time>`, the time in seconds since 1970."""

    what: str
    words: tuple[str, ...]
    at: float


class Run:
    """A command in a guest."""

    def __init__(self, job: Any) -> None:
        self._job = job

    @property
    def text(self) -> str:
        """All that it printed."""
        return f"{self._job.out}{self._job.err}"

    def said(self, what: str) -> list[Said]:
        """Return the whole lines that begin with `what`."""
        lines = [line.split() for line in self._job.out.split("\n")[:-1]]
        return [Said(what, tuple(words[1:-1]), float(words[-1])) for words in lines if words[0] == what]

    def expect(self, what: str, *, within_s: float = 30.0, count: int = 1) -> Said:
        """Wait until it has printed `count` lines that begin with `what`; returns the last of these."""

        def there() -> Said | None:
            ended = self._job.rc is not None
            found = self.said(what)
            assert len(found) >= count or not ended, f"ended without saying {what!r}: {self.text}"
            return found[count - 1] if len(found) >= count else None

        found = wait_for(there, f"{what!r} from a guest", within_s=within_s, told=lambda: self.text)
        return found or self.said(what)[count - 1]

    def expect_text(self, text: str, *, within_s: float) -> None:
        """Wait until it has printed `text`."""
        wait_for(lambda: text in self.text, f"{text!r} from a guest", within_s=within_s, told=lambda: self.text)

    def ended(self, *, within_s: float = 60.0) -> int:
        """Wait for its end, and give its exit status."""
        wait_for(
            lambda: self._job.rc is not None, "a guest's command ends", within_s=within_s, told=lambda: self.text
        )
        return int(self._job.rc)

    def stop(self) -> None:
        """Kill it, if it runs in a guest that lives, and wait for its end."""
        lab, guest = self._job.lab, self._job.i
        if self._job.rc is None and lab.alive(guest):
            lab.python(guest, f"import os; os.killpg({self._job.pid}, 9)", check=False)  # it may just have ended
            self.ended()


@dataclass(frozen=True)
class Death:
    """A host that died while it held a job, when (seconds since 1970), and who drains the queue on the other one."""

    job: str
    at: float
    survivor: Run


class Site:
    """One queue directory on the share, new, and what two guests do with it."""

    def __init__(self, lab: Any) -> None:
        self.lab = lab
        self._name = f"queue-{uuid.uuid4().hex[:8]}"
        self.queue = SHARE / self._name
        self._runs: list[Run] = []

    def start(self, guest: int, role: str, *options: str) -> Run:
        """Start a driver in one role."""
        argv = [sys.executable, str(HERE / "driver.py"), role, str(self.queue), *options]
        return self._run(guest, argv, {})

    def do(self, guest: int, role: str, *options: str) -> Run:
        """Run a driver to its end."""
        run = self.start(guest, role, *options)
        assert run.ended() == 0, run.text
        return run

    def start_worker(self, guest: int, **settings: str) -> Run:
        """Start the real worker."""
        values = {"queue_dir": str(self.queue), "data_dir": "/tmp/data", "min_free_gb": "0", **settings}  # noqa: S108 - the guest's own
        env = {f"SLIDEHOOK_{name.upper()}": value for name, value in values.items()}
        return self._run(guest, [sys.executable, "-m", "worker"], env)

    def _run(self, guest: int, argv: list[str], env: dict[str, str]) -> Run:
        env = {"PYTHONPATH": str(HOUSE), "PYTHONDONTWRITEBYTECODE": "1", **env}
        run = Run(self.lab.start(guest, argv, cwd=str(HOUSE), env=env))
        self._runs.append(run)
        return run

    def names(self, state: JobState) -> list[str]:
        """List the jobs' files of a state, as the server sees them."""
        folder = self.lab.export / self._name / state
        return sorted(path.name for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else []

    def dies_at_work(self, guest: int, *, silent: bool, look_s: float) -> Death:
        """Kill a guest that holds a job and looks every `look_s` s whether it still does; `silent`: a power cut.

        With 0 an answer of the server is always on its way to it, or not acknowledged yet.
        """
        survivor = next(each for each in GUESTS if each != guest)
        self.do(guest, "put", "--slide", "S-left")
        claimed = self.start(guest, "hold", "--each", str(look_s)).expect("claimed")
        worker = self.start(survivor, "drain")
        worker.expect("idle")
        at = time.time()
        self.lab.kill(guest, silent=silent)
        return Death(claimed.words[0], at, worker)

    def tidy(self) -> None:
        """End what runs; then both guests live, and have the share as it should be."""
        for run in self._runs:
            run.stop()


def tally(*runs: Run) -> Counter[str]:
    """Count how often each job ran."""
    return Counter(said.words[0] for run in runs for said in run.said("ran"))


def remount(lab: Any, guest: int, options: str) -> None:
    """Mount the share otherwise."""
    lab.umount(guest)
    lab.mount(guest, options)


@contextmanager
def cut_off(lab: Any, *guests: int) -> Iterator[None]:
    """Cut the guests' network while the block runs."""
    for guest in guests:
        lab.cut(guest)
    try:
        yield
    finally:
        for guest in guests:
            lab.heal(guest)


@contextmanager
def first_in_path(folder: Path) -> Iterator[None]:
    """Let commands in `folder` come before the system's own."""
    before = os.environ["PATH"]
    os.environ["PATH"] = f"{folder}{os.pathsep}{before}"
    try:
        yield
    finally:
        os.environ["PATH"] = before
