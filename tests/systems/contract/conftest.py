"""Each test of the contract runs once on every system."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from slidehook.simulator.options import Options
from slidehook.simulator.server import Simulator
from tests.systems.contract.backends import AJob, Backend, DpatBackend, FolderBackend, MemoryBackend


def made(kind: str, slides: Path, tmp_path: Path) -> Iterator[Backend]:
    if kind == "folder":
        yield FolderBackend(slides, tmp_path)
    elif kind == "memory":
        yield MemoryBackend(slides)
    else:
        with Simulator(slides, Options(strict=True)) as sim:
            yield DpatBackend(sim, tmp_path)


@pytest.fixture(params=["dpat", "folder", "memory"])
def backend(request: pytest.FixtureRequest, sample_slides: Path, tmp_path: Path) -> Iterator[Backend]:
    """A system with one slide."""
    yield from made(request.param, sample_slides, tmp_path)


@pytest.fixture(params=["dpat", "memory"])
def remote(request: pytest.FixtureRequest, sample_slides: Path, tmp_path: Path) -> Iterator[Backend]:
    """A system that needs a secret, stores progress, and can fail: a folder on this machine does none of these."""
    yield from made(request.param, sample_slides, tmp_path)


@pytest.fixture
def job() -> AJob:
    """A job on the slide."""
    return AJob()
