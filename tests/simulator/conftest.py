"""A simulator on a free port, a well-behaved client, and a registered app."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from slidehook.simulator.options import Options
from slidehook.simulator.server import Simulator
from tests.simulator.tiny_app import TinyApp


class Caller(requests.Session):
    """Calls the IA-API by paths below the callback URL, with its token and version."""

    def __init__(self, sim: Simulator) -> None:
        super().__init__()
        self.base = sim.callback_url
        self.headers["X-Sectra-ApiVersion"] = "1.10"
        self.headers["Authorization"] = f"Bearer {sim.token()}"

    def request(self, method: str | bytes, url: str | bytes, *args: Any, **given: Any) -> requests.Response:
        given.setdefault("timeout", 10)
        return super().request(method, f"{self.base}{url!s}", *args, **given)


@pytest.fixture
def sim(sample_slides: Path) -> Iterator[Simulator]:
    """A strict simulator; test_leniency.py has a lenient one."""
    with Simulator(sample_slides, Options(strict=True)) as simulator:
        yield simulator


@pytest.fixture
def api(sim: Simulator) -> Iterator[Caller]:
    with Caller(sim) as caller:
        yield caller


@pytest.fixture
def tiny(sim: Simulator) -> Iterator[TinyApp]:
    """The tiny app, registered and enabled."""
    with TinyApp() as app:
        sim.register(app.url)
        sim.enable("tiny")
        yield app
