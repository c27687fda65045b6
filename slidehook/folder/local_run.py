"""Runs an app on a slide of this machine, with a worker's chain, and a folder as origin and destination."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from slidehook.app import App, MultiArea, TaggedPolygon, WholeSlide
from slidehook.errors import BadRequest
from slidehook.folder.local_slide import local_file, local_id
from slidehook.folder.origin import FolderOrigin
from slidehook.geometry import Frame
from slidehook.models import Input, WholeSlideInput
from slidehook.models.base import Polygon
from slidehook.models.images import ImageInfo
from slidehook.models.inputs import MultiAreaInput, PolygonContent, PolygonsContent, TaggedPolygonInput
from slidehook.private import write_private
from slidehook.regions import regions_of
from slidehook.registry.registry import Registry
from slidehook.results.geojson import Outline
from slidehook.running.app_process import AppProcess
from slidehook.running.chain import Chain
from slidehook.running.dependency_cache import DependencyCache
from slidehook.running.desk import Desk
from slidehook.running.fetched_slide import FetchedSlide
from slidehook.settings import Settings
from slidehook.systems import Done, OriginTicket

Progress = Callable[[App, float, str], None]
"""Shows the progress of an app: 0…100, and a short text."""


def drawn_by(app: App, outlines: Sequence[Outline], tag: str | None, frame: Frame) -> Input:
    """Return the input that DPAT would send if a user had drawn `outlines` (level-0 pixels) for `app`.

    Without `tag`, the outline's own class is the tag, or else the app's only tag. Raises BadRequest, with one
    sentence, if the app can't take this input.
    """
    if isinstance(app.input, WholeSlide):
        if outlines or tag is not None:
            raise BadRequest(f"the app {app.id} takes the whole slide: it needs neither a region nor a tag")
        return WholeSlideInput()
    if not outlines:
        what = "one or more regions" if isinstance(app.input, MultiArea) else "a region"
        raise BadRequest(f"the app {app.id} needs {what}: --region polygon.geojson, as QuPath exports it")
    polygons = [Polygon(points=frame.points(each.points)) for each in outlines]
    drawn: Input
    if isinstance(app.input, MultiArea):
        if tag is not None:
            raise BadRequest(f"the app {app.id} has no tags")
        drawn = MultiAreaInput(type="multiArea", content=PolygonsContent(polygons=polygons))
    elif len(polygons) > 1:
        raise BadRequest(f"the app {app.id} takes one region, not {len(polygons)}")
    else:
        place = _tag_place(app.input, tag, outlines[0].name)
        content = PolygonContent(polygon=polygons[0], tags=list(app.input.tags), tag_index=place)
        drawn = TaggedPolygonInput(type="taggedPolygon", content=content)
    regions_of(drawn, frame)
    return drawn


def _tag_place(wanted: TaggedPolygon, tag: str | None, name: str) -> int | None:
    tags = list(wanted.tags)
    if tag is None:
        tag = name if name in tags else tags[0] if len(tags) == 1 else None
    if tag in tags:
        return tags.index(tag)
    if not tags and tag is None:
        return None
    told = "no tag was given" if tag is None else f"there is no tag {tag!r}"
    raise BadRequest(f"{told}: --tag takes {' or '.join(tags) or 'none'}")


@dataclass(frozen=True)
class LocalRun:
    """One run of `app` on the slide at `path`, a file or a folder of DICOM files.

    `registry`: the installed apps, which need not include `app`. `drawn`: what the user drew. `mpp`: the µm per
    pixel to state in the image record; None: the value that the file states. Without `limited`, apps may take any
    time and memory.
    """

    app: App
    path: Path
    registry: Registry
    settings: Settings
    drawn: Input
    mpp: float | None = None
    limited: bool = True

    def analyse(self, progress: Progress) -> Done:
        """Run the apps that `app` depends on, then `app` itself, in a process like a worker's.

        Raises what the chain raises: AppError and its subclasses, with the traceback of an app's own fault.
        """
        with TemporaryDirectory(prefix="slidehook-") as folder:
            scratch = Path(folder)
            others = [each for each in self.registry.values() if each.id != self.app.id]
            registry = Registry([*others, self.app], self.registry.broken, self.registry.unready)
            ticket = OriginTicket("folder", str(self.path), local_id(self.path), self.app.id)
            steps = _Steps(len(registry.before(self.app)) + 1, progress)
            origin = FolderOrigin(ticket, mpp=self.mpp)
            with _processes(self.settings, Desk(registry, scratch / "processes")) as child:
                chain = Chain(
                    ticket,
                    self.drawn,
                    registry=registry,
                    secrets=origin.secrets_for_child(),
                    dependency_cache=DependencyCache(scratch / "found"),
                    settings=self.settings,
                    child=child,
                    progress=steps.progress,
                    tick=lambda: None,
                    began=steps.began,
                    limited=self.limited,
                )
                info = origin.info()
                apps, before = chain.left(info)
                found = chain.run(apps, self._fetched(origin, info, apps, scratch), before)
        return Done(found.result, found.frame, found.mpp, found.bounds)

    def _fetched(self, origin: FolderOrigin, info: ImageInfo, apps: Sequence[App], scratch: Path) -> FetchedSlide:
        needs = {each for app in apps for each in app.needs}
        fetched = FetchedSlide(
            info,
            local_file(self.path) if "files" in needs else None,
            scratch / "thumbnail.png" if "thumbnail" in needs else None,
        )
        if self.settings.store_phi and "label" in needs and (label := origin.label()) is not None:
            write_private(scratch / "label.png", label)
            fetched = replace(fetched, label=scratch / "label.png")
        return fetched


class _Steps:
    """Converts the progress of all apps together to the progress of the current one."""

    def __init__(self, count: int, show: Progress) -> None:
        self._share = 100 / count
        self._show = show
        self._app: App | None = None
        self._number = -1

    def began(self, app: App) -> None:
        self._app = app
        self._number += 1

    def progress(self, percent: float, text: str) -> None:
        if self._app is not None:
            own = (percent - self._number * self._share) * 100 / self._share
            self._show(self._app, own, text.removeprefix(f"{self._app.name}: "))


@contextmanager
def _processes(settings: Settings, desk: Desk) -> Iterator[Callable[[], AppProcess]]:
    """Yield a function that returns the process to run apps in, and kill the last one at the end."""
    process: AppProcess | None = None

    def child() -> AppProcess:
        nonlocal process
        if process is None or not process.alive:
            if process is not None:
                process.kill()  # processes that it started may still run
            process = AppProcess(settings, desk=desk)
        return process

    try:
        yield child
    finally:
        if process is not None:
            process.kill()
