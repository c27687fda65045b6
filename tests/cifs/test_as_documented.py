"""What the share's tests take for granted is what the documents advise, and what a worker does. Needs no share."""

from __future__ import annotations

from tests.cifs import driver
from tests.cifs.sharing import HOUSE, KEEPALIVE, NOLEASE
from worker.claims import WATCH_EVERY_S
from worker.loop import IDLE_WAIT_S


def test_the_documents_advise_the_settings_that_were_tried() -> None:
    text = (HOUSE / "docs" / "queue.md").read_text()
    assert KEEPALIVE in text.splitlines()
    assert f"`{NOLEASE.rpartition(',')[2]}`" in text


def test_the_driver_looks_as_often_as_a_worker() -> None:
    assert (driver.IDLE_WAIT_S, driver.WATCH_EVERY_S) == (IDLE_WAIT_S, WATCH_EVERY_S)
