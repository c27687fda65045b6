"""What all tests share: sample slides, how Hypothesis runs, and an environment that does not depend on the caller."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from filelock import FileLock
from hypothesis import HealthCheck, settings

from slidehook.simulator.samples import sample_folder
from tests.sweeping import watch_this_process

# How fast a busy machine draws an example says nothing about the code.
settings.register_profile("slidehook", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("slidehook")


# These change what a program under test writes, and when.
for _name in ("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED"):
    os.environ.pop(_name, None)


def hear_ignored_signals() -> None:
    """Let the programs under test have the default actions for signals that this process was started to ignore.

    A shell starts a command so in the background or by `nohup`, and an ignored signal stays ignored in every program
    that the command starts; one that is handled has its default action there. This process itself goes on.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


def pytest_configure() -> None:
    hear_ignored_signals()
    watch_this_process()


@pytest.fixture(scope="session", autouse=True)
def _no_settings_of_the_caller() -> Iterator[None]:
    """Keep what the caller set from the programs under test, which refuse names that they don't know.

    What the tests themselves are asked for with such names, they read before, when their modules are imported.
    """
    with pytest.MonkeyPatch.context() as patch:
        for name in [each for each in os.environ if each.upper().startswith("SLIDEHOOK_")]:
            patch.delenv(name)
        yield


@pytest.fixture(autouse=True)
def _logging_as_at_the_start() -> Iterator[None]:
    """Undo what a test, or a program that it ran in this process, has set up: it may write to a file closed since."""
    yield
    structlog.reset_defaults()


@pytest.fixture
def changes_may_take_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `on_modify` take as long as a busy machine needs: a viewer would wait no more than some seconds for it."""
    monkeypatch.setattr("webserver.on_modify_process.START_S", 120.0)
    monkeypatch.setattr("webserver.modify_answer.MODIFY_S", 120.0)


# The tests' own calls go to this host alone, so none may go to a proxy that the environment names.
if any(os.environ.get(each) for name in ("http_proxy", "all_proxy") for each in (name, name.upper())):
    os.environ["no_proxy"] = os.environ["NO_PROXY"] = "localhost,127.0.0.1,::1"


@pytest.fixture(scope="session")
def sample_slides(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A folder with the slides `immuno` (TIFF) and `immuno-dicom` (DICOM); copy it before changing it.

    All processes of pytest-xdist share it: the first that needs it makes it.
    """
    if worker_id == "master":
        return sample_folder(tmp_path_factory.mktemp("slides"))
    of_the_run = tmp_path_factory.getbasetemp().parent
    with FileLock(of_the_run / "slides.lock"):
        if not (folder := of_the_run / "slides").exists():
            (made := tmp_path_factory.mktemp("slides") / "new").mkdir()
            sample_folder(made).rename(folder)
    return folder
