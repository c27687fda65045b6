"""Every command and snippet of the README and of docs/ works as it stands there."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from slidehook.cli import main as cli
from slidehook.jobs.files.layout import FOLDERS
from slidehook.jobs.files.queue import FileQueue
from slidehook.jobs.job import Job
from slidehook.settings import Settings
from tests.e2e.running import HOUSE, Program, free_port, wait_for

DOCUMENTS = [HOUSE / "README.md", *sorted((HOUSE / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.M | re.S)
JOB_ID = "18e9f2fabeeb44cd-9f5e25c3"
"""The job whose id begins as the one in the documents does."""


OF_ITS_OWN = {"write-an-app.md"}
"""Documents that are followed from their first line to the last, by a test of their own."""


def blocks(language: str) -> list[tuple[str, str]]:
    """Return the snippets of a language: the document's name and each line that is not empty."""
    return [
        (path.name, line)
        for path in DOCUMENTS
        if path.name not in OF_ITS_OWN
        for found, text in BLOCK.findall(path.read_text())
        if found == language
        for line in text.splitlines()
        if line.strip()
    ]


class Reader:
    """Somebody who types what the documents say, with a queue and data of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.env = {
            "SLIDEHOOK_QUEUE_DIR": str(folder / "queue"),
            "SLIDEHOOK_DATA_DIR": str(folder / "data"),
            "SLIDEHOOK_PORT": str(self.port),
            "SLIDEHOOK_HOST": "127.0.0.1",
        }

    def starts(self, line: str, ready: Callable[[Program], bool]) -> None:
        """Start a command that stays, wait until it is ready, and end it as Ctrl-C does."""
        program = self.program(line)
        try:
            wait_for(lambda: ready(program), f"{line}: {program.text()}")
        finally:
            program.process.terminate()
            # gunicorn gives a process of its own 30 s that is only just starting, and misses the signal.
            assert program.ended() == 0, program.text()

    def ends(self, line: str) -> str:
        """Run a command that ends by itself; returns what it printed."""
        program = self.program(line)
        try:
            assert program.ended(240) == 0, program.text()
        finally:
            program.process.kill()
            program.process.wait()
        return program.text()

    def program(self, line: str) -> Program:
        command = shlex.split(line, comments=True)
        log = self.folder / f"{command[0].strip('./').replace('/', '-')}.log"
        return Program(command, env=self.env, mark=str(self.folder), log=log, cwd=HOUSE)

    def answers(self) -> bool:
        try:
            return bool(requests.get(f"http://127.0.0.1:{self.port}/healthz", timeout=5).json() == {"status": "ok"})
        except requests.ConnectionError:
            return False


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    return Reader(tmp_path)


def _demo(reader: Reader, line: str) -> None:
    assert "ANSWER: 42" in reader.ends(f"{line.partition('#')[0]} --once --out {reader.folder}")


def _tests(reader: Reader, line: str) -> None:
    # This test is run by that command: that its own checks are still called is what can be seen from here.
    script, *chosen = shlex.split(line, comments=True)
    assert all(check in (HOUSE / script).read_text() for check in ("ruff check", "mypy", "exec pytest"))
    if chosen:
        found = reader.ends(shlex.join([".venv/bin/pytest", "--collect-only", *chosen]))
        assert f"{chosen[0]}" in found


def _web(reader: Reader, line: str) -> None:
    reader.starts(line, lambda _: reader.answers())


def _worker(reader: Reader, line: str) -> None:
    count = 4 if "--processes 4" in line else 1
    reader.starts(line, lambda program: program.text().count("worker ready") == count)


def _jobs(reader: Reader, line: str) -> None:
    queue = FileQueue(reader.folder / "queue", "web")
    queue.put(
        Job.model_validate(
            {
                "id": JOB_ID,
                "app_id": "wholeslide",
                "slide_id": "S-17",
                "created_at": 1795233085.2,
                "trigger": "user",
                "input": {"type": "wholeSlide"},
                "system": "dpat",
                "address": "http://127.0.0.1:1/v1",
                "secret": "secret",
            }
        )
    )
    queue.close()
    shown = reader.ends(line)
    assert JOB_ID in shown or "--help" in line
    assert "secret" not in shown


COMMANDS: dict[str, Callable[[Reader, str], None]] = {
    "./demo_run.sh": _demo,
    "./test_run.sh": _tests,
    "./flask_run.sh": _web,
    "./worker_run.sh": _worker,
    ".venv/bin/slidehook jobs": _jobs,
}


@pytest.mark.parametrize(("document", "line"), blocks("bash"))
def test_every_command_does_what_its_document_says(document: str, line: str, reader: Reader) -> None:
    run = next((each for start, each in COMMANDS.items() if line.startswith(start)), None)
    assert run is not None, f"{document}: nobody has tried {line!r}"
    run(reader, line)


@pytest.mark.parametrize(("document", "line"), blocks("ini"))
def test_every_setting_in_a_snippet_is_read(document: str, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, value = (part.strip() for part in line.split("=", 1))
    if not name.startswith("SLIDEHOOK_"):
        assert name == "socket options", f"{document}: {line!r} is neither ours nor Samba's"
        return
    monkeypatch.setenv(name, value)
    read = getattr(Settings(), name.removeprefix("SLIDEHOOK_").lower())
    assert value in (str(read), *(read if isinstance(read, tuple) else ()))


def anchors(path: Path) -> set[str]:
    """Return what a link can lead to in a document: its headings, as GitHub names them."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(), re.M)
    return {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_leads_somewhere(path: Path) -> None:
    for link in re.findall(r"\]\(([^)]+)\)", path.read_text()):
        if "://" not in link:
            name, _, anchor = link.partition("#")
            target = path.parent / name if name else path
            assert target.exists(), link
            assert not anchor or anchor in anchors(target), link


def test_the_queues_page_names_every_folder() -> None:
    text = (HOUSE / "docs" / "queue.md").read_text()
    assert [name for name in FOLDERS if f"`{name}/" not in text and f"`…/{name}" not in text] in (
        [],
        ["failed", "cancelled"],
    )
    assert "`failed/…`" in text
    assert "`cancelled/…`" in text


def test_help_of_every_program_is_complete() -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith("SLIDEHOOK_")}
    for command in (
        ["python", "-m", "worker"],
        ["python", "-m", "slidehook.demo"],
        ["slidehook"],
        *(["slidehook", name] for name in cli.COMMANDS),
    ):
        words = [f".venv/bin/{command[0]}", *command[1:], "--help"]
        found = subprocess.run(words, cwd=HOUSE, env=env, capture_output=True, text=True, check=True)
        assert "Usage:" in found.stdout
        assert "--help" in found.stdout
