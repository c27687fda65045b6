"""What all tests share: the sample slides, made once a run, and how Hypothesis runs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, settings

from slidehook.simulator.samples import sample_folder

# How fast a busy machine draws an example says nothing about the code.
settings.register_profile("slidehook", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("slidehook")


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


# The tests' own calls go to this host alone, so none may go to a proxy that the environment names.
if any(os.environ.get(each) for name in ("http_proxy", "all_proxy") for each in (name, name.upper())):
    os.environ["no_proxy"] = os.environ["NO_PROXY"] = "localhost,127.0.0.1,::1"


@pytest.fixture(scope="session")
def sample_slides(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the slides `immuno` (TIFF) and `immuno-dicom` (DICOM); copy it before changing it."""
    return sample_folder(tmp_path_factory.mktemp("slides"))
