"""What an app's process knows and holds: what it needs to analyse a slide, and no secret of the site."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from slidehook.jobs.files.queue import FileQueue
from slidehook.jobs.files.source import FileSource
from slidehook.jobs.job import Job
from slidehook.models import ImageInfo
from slidehook.running.app_process import AppProcess
from slidehook.running.orphans import VARIABLE
from slidehook.running.task import Task
from slidehook.settings import Settings, settings_for_apps

SECRET = "canary-e1f7"
SECRETS = {
    "dpat_user": f"{SECRET}-user",
    "dpat_password": f"{SECRET}-password",
    "dpat_proxy": f"http://x:{SECRET}@127.0.0.1:3128",
}
APPS = """
import json, os, subprocess, sys
from slidehook import App, Result

def descriptors():
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[name] = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:
            pass  # that of the listing
    return found

class Nosy(App):
    id = "nosy"
    name = "Nosy"

    def analyze(self, slide, progress):
        settings = {name: getattr(self.settings, name) for name in type(self.settings).model_fields}
        shown = {
            name: value.get_secret_value() if hasattr(value, "get_secret_value") else str(value)
            for name, value in settings.items() if value is not None
        }
        command = [sys.executable, "-c", "import os; print(dict(os.environ))"]
        return Result("looked", {
            "settings": json.dumps(shown),
            "environment": json.dumps(dict(os.environ)),
            "at the start": open("/proc/self/environ").read().replace(chr(0), " "),
            "handed on": subprocess.run(command, capture_output=True, text=True, check=True).stdout,
            "descriptors": json.dumps(descriptors()),
            "read": sys.stdin.read(),
        })
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """Settings with every secret, also in the environment and in `.env` here; and an app that looks for them."""
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages" / "nosy_app.py").write_text(APPS)
    about = tmp_path / "packages" / "nosy_app-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: nosy-app\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[slidehook.apps]\nnosy = nosy_app:Nosy\n")
    monkeypatch.syspath_prepend(tmp_path / "packages")
    for name, value in SECRETS.items():
        monkeypatch.setenv(f"SLIDEHOOK_{name.upper()}", value)
    monkeypatch.setenv("slidehook_dpat_password", SECRET)  # whose case does not count
    monkeypatch.chdir(tmp_path)
    os.mkfifo(tmp_path / ".env")  # who reads it waits for ever
    yield Settings(_env_file=None, data_dir=tmp_path / "data", keep_days=5)
    assert os.environ["SLIDEHOOK_DPAT_PASSWORD"] == SECRETS["dpat_password"]


def test_an_apps_process_holds_no_secret_and_nothing_that_it_does_not_need(
    site: Settings, queue: FileQueue, source: FileSource, job: Job, sample_slides: Path
) -> None:
    queue.put(job)
    claim = source.claim()
    assert claim is not None
    with socket.create_server(("127.0.0.1", 0)), (site.data_dir.parent / "opened").open("w") as held:
        os.set_inheritable(held.fileno(), True)
        process = AppProcess(site)
        try:
            task = Task("nosy", sample_slides / "immuno.tiff", ImageInfo(id="S-1"), None)
            found = process.analyse(task, timeout_s=200, progress=lambda *_: None, tick=lambda: None)
        finally:
            process.kill()
    said = {name: str(value) for name, value in found.result.properties.items()}
    assert json.loads(said["settings"])["keep_days"] == "5.0"
    for what in ("settings", "environment", "at the start", "handed on"):
        assert SECRET not in said[what], what
        assert "SLIDEHOOK_" not in said[what].upper().replace(VARIABLE, ""), what
    assert said["read"] == ""
    held_by_child = json.loads(said["descriptors"])
    assert held_by_child["0"] == "/dev/null"
    assert sum(each.startswith("socket:") for each in held_by_child.values()) == 1, "its line to the worker"
    files = [each for each in held_by_child.values() if each.startswith("/") and not each.startswith("/dev/")]
    assert [
        each for each in files if Path(each) not in {sample_slides / "immuno.tiff"} and "/proc/" not in each
    ] == []


def test_every_secret_is_withheld_and_nothing_else() -> None:
    settings = Settings(_env_file=None, **SECRETS, keep_days=5)  # type: ignore[arg-type]
    assert settings.model_copy(update=dict.fromkeys(SECRETS)) == settings_for_apps(settings)
    assert settings_for_apps(settings, proxy=True).dpat_proxy == settings.dpat_proxy
