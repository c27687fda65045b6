"""What becomes of an analysis when its app changes on disk while it is at work."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from slidehook.geometry import Frame
from slidehook.jobs.job import Job
from slidehook.models import ImageInfo, Size
from slidehook.registry.fingerprint import fingerprint
from slidehook.registry.registry import Registry, load_apps
from slidehook.result import Result
from slidehook.running.chain import Chain, CodeChanged
from slidehook.running.dependency_cache import DependencyCache
from slidehook.running.fetched_slide import FetchedSlide
from slidehook.settings import Settings
from slidehook.systems import Done, OriginTicket
from tests.packages import install
from tests.worker.test_chain import Children, OneToken
from worker.workspace import CachedResult, Workspace

# What a slide's id names is edited, by the app itself, before it goes on.
APPS = """
from pathlib import Path

from slidehook import App, AppError, Result

HERE = Path(__file__).parent


class Shifting(App):
    id = "shifting"
    name = "Shifting"
    needs = ()

    def files(self):
        return [HERE / "shifting_model"]

    def analyze(self, slide, progress):
        if (path := HERE / slide.info.id).exists():
            path.write_text(path.read_text() + "#")
        if slide.info.id == "shifting_late.py":
            import shifting_late
        if slide.info.id == "shifting_other.py":
            raise AppError("it fails")
        return Result("found")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "authors"
    folder.mkdir()
    source = APPS.replace("HERE = ", "import shifting_other\n\nHERE = ")
    install(folder, "shifting_app", source, {"shifting": "Shifting"})
    for name in ("shifting_late.py", "shifting_other.py", "shifting_model"):
        (folder / name).write_text("")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield folder
    for name in [each for each in sys.modules if each.startswith("shifting_")]:
        del sys.modules[name]


@pytest.fixture
def child(folder: Path, settings: Settings) -> Iterator[Children]:
    child = Children(settings)
    yield child
    if child.process is not None:
        child.process.kill()


def analyse(registry: Registry, job: Job, child: Children, folder: Path, slide_id: str) -> Result:
    settings = registry["shifting"].settings
    chain = Chain(
        OriginTicket("dpat", job.address, job.slide_id, "shifting"),
        job.input,
        since=job.created_at if job.trigger == "import" else 0.0,
        registry=registry,
        secrets=OneToken(),
        dependency_cache=DependencyCache(folder / "outputs"),
        settings=settings,
        child=child,
        progress=lambda *_: None,
        tick=lambda: None,
    )
    info = ImageInfo(id=slide_id, image_size=Size(width=2000, height=1000))
    apps, before = chain.left(info)
    return chain.run(apps, FetchedSlide(info), before).result


def test_a_job_ends_with_the_code_that_it_began_with(
    folder: Path, settings: Settings, job: Job, child: Children
) -> None:
    registry = load_apps(settings)
    before = fingerprint(registry["shifting"])
    result = analyse(registry, job, child, folder, "shifting_app.py")
    assert (result.text, result.properties["App fingerprint"]) == ("found", before)
    assert registry.changed() == f"shifting: {folder / 'shifting_app.py'}"


@pytest.mark.parametrize("edited", ["shifting_late.py", "shifting_model", "shifting_other.py"])
def test_what_mixes_two_states_or_fails_on_one_is_no_result(
    folder: Path, settings: Settings, job: Job, child: Children, edited: str
) -> None:
    registry = load_apps(settings)
    with pytest.raises(CodeChanged, match=edited):
        analyse(registry, job, child, folder, edited)
    assert not (folder / "outputs").exists()


def test_a_process_with_other_code_than_the_worker_is_replaced(
    folder: Path, settings: Settings, job: Job, child: Children
) -> None:
    registry = load_apps(settings)
    model = folder / "shifting_model"
    model.write_text("there for a moment")
    other = child()
    assert analyse(load_apps(settings), job, child, folder, "S-1").text == "found"
    model.write_text("")
    result = analyse(registry, job, child, folder, "S-1")
    assert result.properties["App fingerprint"] == fingerprint(registry["shifting"])
    assert child() is not other


def test_what_changed_code_would_find_otherwise_is_not_stored(
    folder: Path, settings: Settings, job: Job, tmp_path: Path
) -> None:
    app = load_apps(settings)["shifting"]
    workspace = Workspace(tmp_path / "data", "me")
    done = Done(Result("found"), Frame(2000, 1000))
    workspace.keep_result(job.id, CachedResult(done, app.version, fingerprint(app)))
    assert workspace.kept_result(job.id, app, fingerprint(app)) == done
    (folder / "shifting_model").write_text("another")
    assert workspace.kept_result(job.id, app, fingerprint(app)) is None
