"""Tries an app on a slide of this machine, as a worker would run it, but without any server."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from slidehook.app import App, MultiArea, TaggedPolygon, WholeSlide
from slidehook.dpat.iaapi.models import ResultData, ResultRecord
from slidehook.dpat.records import shown
from slidehook.errors import AppChanged, BadRequest, SlidehookError
from slidehook.folder.local_slide import local_slide
from slidehook.geometry import Frame
from slidehook.models import Input, Point, WholeSlideInput
from slidehook.models.base import Polygon
from slidehook.models.inputs import MultiAreaInput, PolygonContent, PolygonsContent, TaggedPolygonInput
from slidehook.pixels.bounds import Bounds
from slidehook.regions import regions_of, tag_of
from slidehook.registry.app_reference import AppFault
from slidehook.registry.fingerprint import fingerprint, resting_on
from slidehook.result import Progress, Result
from slidehook.results.budget import within_limits
from slidehook.results.geojson import Outline
from slidehook.results.sanitize import in_words, sanitize_result
from slidehook.running.run_app import certain_mpp, run_app
from slidehook.slide import Slide


@dataclass(frozen=True)
class Trial:
    """What an app found: all of it, and as DPAT would be sent it; and the regions drawn, in result coordinates.

    `bounds`: the part of the slide that its file says was scanned; None when it says none.
    """

    whole: Result
    record: ResultRecord
    drawn: list[list[Point]]
    bounds: Bounds | None = None


def drawn_by(app: App, outlines: Sequence[Outline], tag: str | None, frame: Frame) -> Input:
    """Give what DPAT would send had a user drawn `outlines` (level-0 pixels) for `app`.

    Without `tag`, the outline's own class is the tag, else the app's only one. Raises BadRequest with one sentence on
    what the app can't take.
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


def try_app(
    app: App,
    before: Sequence[App],
    path: Path,
    *,
    drawn: Input,
    mpp: float | None,
    progress: Callable[[App], Progress],
    limits: Callable[[App], AbstractContextManager[None]] = lambda _: nullcontext(),
) -> Trial:
    """Run the apps that `app` rests on, and then itself, on the slide at `path` (a file, or a folder of DICOM files).

    `mpp`: what DPAT's record would say of the pixel size, None: what the file says; `progress` gives what each app
    tells its progress, `limits` what holds it to the time and memory that it may take. Raises AppFault, whose cause
    is what the author's code raised, and errors of slidehook's own.
    """
    result: Result | None = None
    rests_on = ""
    for each in before:
        with local_slide(path, needs=each.needs, mpp=mpp, dependency=result) as slide:
            rests_on = resting_on(fingerprint(each), rests_on)
            result = _analysed(each, slide, progress(each), limits(each), rests_on)
    with local_slide(
        path,
        needs=app.needs,
        drawn=drawn,
        tag=tag_of(drawn, app.input.tags if isinstance(app.input, TaggedPolygon) else ()),
        mpp=mpp,
        with_label=app.settings.store_phi,
        dependency=result,
    ) as slide:
        rests_on = resting_on(fingerprint(app), rests_on)
        whole = _analysed(app, slide, progress(app), limits(app), rests_on)
        drawn_regions = [each.in_result(slide.frame) for each in slide.regions]
        return Trial(whole, _record(app, slide, whole), drawn_regions, slide.bounds)


def _analysed(
    app: App, slide: Slide, progress: Progress, limits: AbstractContextManager[None], rests_on: str
) -> Result:
    try:
        with limits:
            app.setup()
            result = sanitize_result(run_app(app, slide, progress, rests_on=rests_on))
            if rests_on.partition(" ")[0] != fingerprint(app):
                raise AppChanged(f"a file of the app {app.id} changed while it was at work")
            return result
    except SlidehookError:
        raise
    except (Exception, SystemExit) as error:
        # An author's code may raise anything, and some leave the program.
        raise AppFault(f"the app {app.id} has a fault: {type(error).__name__}: {in_words(error)}") from error


def _record(app: App, slide: Slide, whole: Result) -> ResultRecord:
    """Make what DPAT would be sent."""
    result = within_limits(app, whole, mpp=certain_mpp(slide))
    return ResultRecord(
        slide_id=slide.info.id,
        display_result=result.text,
        display_properties={**result.properties},
        application_version=app.version,
        data=ResultData(result=shown(result, slide.frame)),
    )
