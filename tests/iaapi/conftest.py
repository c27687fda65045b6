"""A little DPAT, and a client for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from slidehook.dpat.iaapi.client import DpatClient, DpatServer
from slidehook.dpat.iaapi.models import Item, Primitive, ResultData, ResultRecord
from slidehook.settings import Settings
from tests.iaapi.little_dpat import LittleDpat


@pytest.fixture
def dpat() -> Iterator[LittleDpat]:
    with LittleDpat() as dpat:
        yield dpat


@pytest.fixture
def read_timeout() -> str:
    """How long a call may take: longer than any machine needs. A test that waits for it parametrizes it."""
    return "20s"


@pytest.fixture
def settings(tmp_path: Path, read_timeout: str) -> Settings:
    return Settings(_env_file=None, read_timeout=read_timeout, data_dir=tmp_path / "data")


@pytest.fixture
def server(dpat: LittleDpat, settings: Settings) -> Iterator[DpatServer]:
    server = DpatServer(dpat.url, settings)
    with server.session:
        yield server


@pytest.fixture
def client(server: DpatServer) -> DpatClient:
    return server.client("the-token")


@pytest.fixture
def record() -> ResultRecord:
    return ResultRecord(
        slide_id="S-1",
        display_result="12 %",
        application_version="1.0",
        data=ResultData(result=Primitive(content=[Item()])),
    )
