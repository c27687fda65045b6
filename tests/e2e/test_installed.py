"""What an administrator installed starts for a service's user, who can write neither the checkout nor a home."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from slidehook.startup import CANT_START
from tests.e2e.running import HOUSE, Program, end_all, free_port, wait_for

PARTS = ("deploy", "slidehook", "webserver", "worker")
FILES = ("flask_run.sh", "worker_run.sh", "pyproject.toml", "uv.lock", "README.md", "LICENSE")


class Checkout:
    """A copy of the checkout with what is installed, which whoever starts programs here can't write."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "checkout"
        self.folder.mkdir()
        for name in PARTS:
            shutil.copytree(HOUSE / name, self.folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in FILES:
            shutil.copy(HOUSE / name, self.folder / name)
        (self.folder / ".venv").symlink_to(HOUSE / ".venv")
        self.state = folder / "state"
        self.state.mkdir()
        self.mark = uuid.uuid4().hex
        self.port = free_port()

    def close_to_writing(self) -> None:
        """Take away the right to write."""
        for parent, _, files in os.walk(self.folder):
            Path(parent).chmod(0o555)
            for name in files:
                path = Path(parent, name)
                path.chmod(path.stat().st_mode & 0o555)

    def open_to_writing(self) -> None:
        """Let pytest remove it."""
        for parent, _, _ in os.walk(self.folder):
            Path(parent).chmod(0o755)

    def names(self) -> dict[str, int]:
        """Return every name in the checkout, with the time of its last change."""
        found = {}
        for parent, folders, files in os.walk(self.folder):
            for name in (*folders, *files):
                path = Path(parent, name)
                found[str(path)] = path.lstat().st_mtime_ns
        return found

    def start(self, script: str, **settings: str) -> Program:
        """Start a script as a user without a home."""
        env = {
            "SLIDEHOOK_HOST": "127.0.0.1",
            "SLIDEHOOK_PORT": str(self.port),
            "SLIDEHOOK_QUEUE_DIR": str(self.state / "queue"),
            "SLIDEHOOK_DATA_DIR": str(self.state / "data"),
            "SLIDEHOOK_WEB_PROCESSES": "1",
        } | settings
        command = [*_as_service(), "env", "-u", "HOME", "-u", "XDG_CACHE_HOME", str(self.folder / script)]
        log = self.folder.parent / f"{script}.log"
        return Program(command, env=env, mark=self.mark, log=log, cwd=Path("/"))


def _as_service() -> list[str]:
    """Return what root puts before a command so that it may write no more than another user."""
    if os.geteuid() != 0:
        return []
    return ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Checkout]:
    checkout = Checkout(tmp_path)
    if _as_service() and shutil.which("setpriv") is None:
        pytest.skip("root can't give its rights away here: setpriv is missing")
    if subprocess.run([*_as_service(), "true"], capture_output=True, check=False).returncode:
        pytest.skip("root can't give its rights away here: setpriv is not allowed")
    try:
        yield checkout
    finally:
        end_all(checkout.mark)
        checkout.open_to_writing()


def test_what_is_installed_starts_and_nothing_is_written_beside_it(checkout: Checkout) -> None:
    checkout.close_to_writing()
    before = checkout.names()
    web, worker = checkout.start("flask_run.sh"), checkout.start("worker_run.sh")

    def answers() -> bool:
        assert web.process.poll() is None, web.text()
        try:
            return requests.get(f"http://127.0.0.1:{checkout.port}/healthz", timeout=5).ok
        except requests.ConnectionError:
            return False

    wait_for(answers, "the webserver answers")
    wait_for(lambda: "worker ready" in worker.text(), "the worker is ready")
    assert checkout.names() == before
    for program in (web, worker):
        program.kill(signal.SIGTERM)
        assert program.ended(45) == 0, program.text()


def test_what_is_not_installed_is_said_to_be_so(checkout: Checkout) -> None:
    (checkout.folder / ".venv").unlink()
    checkout.close_to_writing()
    program = checkout.start("worker_run.sh")
    assert program.ended() == CANT_START
    (line,) = program.text().splitlines()
    assert line.startswith(f"slidehook is not installed in {checkout.folder}")


@pytest.mark.parametrize("script", ["flask_run.sh", "worker_run.sh"])
@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("SLIDEHOOK_PORT=5006\n".encode("utf-16"), "is UTF-16 or not text: save it as UTF-8"),
        ("SLIDEHOOK_DPAT_USER=Jörg\n".encode("latin-1"), "line 1: the value of SLIDEHOOK_DPAT_USER is not UTF-8"),
        (b"SLIDEHOOK_PROT=5006\n", "line 1 is no setting; the nearest one is SLIDEHOOK_PORT"),
        (None, "can't be read (Permission denied)"),
    ],
)
def test_an_env_file_that_can_not_be_used_ends_the_start_of_both_programs(
    checkout: Checkout, script: str, content: bytes | None, sentence: str
) -> None:
    file = checkout.folder / ".env"
    file.write_bytes(content or b"SLIDEHOOK_PORT=5006\n")
    checkout.close_to_writing()
    if content is None:
        file.chmod(0)
    program = checkout.start(script)
    assert program.ended(60) == CANT_START
    (line,) = program.text().splitlines()
    assert line.startswith("slidehook: ")
    assert str(file) in line
    assert sentence in line
