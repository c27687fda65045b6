"""A webserver with three apps and a queue in `tmp_path`, and a little DPAT."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from slidehook.registry.registry import BrokenApp, Registry
from slidehook.settings import Settings
from tests.iaapi.conftest import dpat
from tests.iaapi.little_dpat import LittleDpat
from tests.webserver.site import Areas, Site, Tagged, TissueArea
from webserver.application import create_app

__all__ = ["dpat"]


@pytest.fixture
def make_site(dpat: LittleDpat, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Site]]:
    """Create webservers with the test's settings."""
    # Otherwise its loggers would keep the standard error of the first test that logs.
    monkeypatch.setattr("webserver.application.set_up_logging", lambda: None)
    at_exit: list[Callable[[], None]] = []
    monkeypatch.setattr("webserver.application.atexit", SimpleNamespace(register=at_exit.append))

    def make(**settings: Any) -> Site:
        given = {"queue_dir": tmp_path / "queue", "data_dir": tmp_path / "data", "read_timeout": "20s", **settings}
        broken = BrokenApp("theirs:App", "ImportError: no <module>", "Traceback")
        registry = Registry([TissueArea(), Tagged(), Areas()], [broken])
        site = Site(create_app(Settings(_env_file=None, **given), registry), tmp_path / "queue", dpat)
        at_exit.append(site.queue.close)
        return site

    yield make
    for close in at_exit:
        close()


@pytest.fixture
def site(make_site: Callable[..., Site]) -> Site:
    return make_site()
