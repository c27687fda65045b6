"""The lab: a Samba server and two real kernels that mount its share. CIFSLAB names its folder; it needs root.

As root: CIFSLAB=FOLDER ./test_run.sh -rs tests/cifs
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cifs.sharing import (
    GUESTS,
    KEEPALIVE,
    NOLEASE,
    PLAIN,
    Site,
    first_in_path,
    has_wide_registers,
    load_lab,
    wrap_linux,
)


@pytest.fixture(scope="session")
def lab_class() -> Iterator[Any]:
    """The lab's class, on a machine that can run it."""
    folder = os.environ.get("CIFSLAB")
    if not folder or os.geteuid() != 0:
        pytest.skip(
            "set CIFSLAB to the folder of the CIFS lab, and be root, to try the queue on a share between two kernels"
        )
    with ExitStack() as stack:
        if has_wide_registers():
            commands = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cifslab-")))
            wrap_linux(commands)
            stack.enter_context(first_in_path(commands))
        yield load_lab(Path(folder)).Lab


@contextmanager
def running(lab_class: Any, *, smb_conf: str = "", mount_opts: str = PLAIN) -> Iterator[Any]:
    # Not in pytest's own folder: the lab hides its folder in the guests, and needs a short path for its sockets.
    with (
        tempfile.TemporaryDirectory(prefix="cifslab-", dir="/var/tmp") as folder,
        lab_class(folder, guests=len(GUESTS), smb_conf=smb_conf, mount_opts=mount_opts) as lab,
    ):
        yield lab


@pytest.fixture(scope="module")
def plain_lab(lab_class: Any) -> Iterator[Any]:
    """Samba and its share's mounts as they come."""
    with running(lab_class) as lab:
        yield lab


@pytest.fixture(scope="module")
def keen_lab(lab_class: Any) -> Iterator[Any]:
    """Samba set to notice soon that a host is gone, and the share mounted, as docs/queue.md advises."""
    with running(lab_class, smb_conf=KEEPALIVE, mount_opts=NOLEASE) as lab:
        yield lab


@contextmanager
def site_in(lab: Any) -> Iterator[Site]:
    site = Site(lab)
    try:
        yield site
    finally:
        site.tidy()
        for guest in GUESTS:
            if not lab.alive(guest):
                lab.boot(guest)
                lab.mount(guest)


@pytest.fixture
def plain(plain_lab: Any) -> Iterator[Site]:
    """A new queue on a share as it comes."""
    with site_in(plain_lab) as site:
        yield site


@pytest.fixture
def keen(keen_lab: Any) -> Iterator[Site]:
    """A new queue on a share as docs/queue.md advises it."""
    with site_in(keen_lab) as site:
        yield site


@pytest.fixture
def tell(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Print a measured figure, below the test's name; visible with -s, and after a failure."""

    def tell(text: str) -> None:
        print(f"\n{request.node.name}: {text}")  # noqa: T201

    return tell
