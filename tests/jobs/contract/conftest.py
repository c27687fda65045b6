"""Each test of the contract runs once on every backend."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.jobs.contract.backends import Backend, FileBackend, MemoryBackend


@pytest.fixture(params=["file", "memory"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    """An empty queue, and as many processes at it as the test starts."""
    backend: Backend = FileBackend(tmp_path / "queue") if request.param == "file" else MemoryBackend()
    yield backend
    backend.close()
