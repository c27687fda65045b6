"""The largest result that an app may send comes back through the real webserver: changed, and deleted."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pytest
import requests
from pydantic_core import to_json

from slidehook import App, Gallery, MultiArea, PixelPoint, Progress, Result, Slide, TaggedPolygon, WholeSlide
from slidehook.dpat.stored_result import RecordMaker
from slidehook.geometry import Frame
from slidehook.jobs.job import Job, new_job_id
from slidehook.models import WholeSlideInput
from slidehook.results.budget import within_limits
from slidehook.results.limits import MIB, most_body_bytes
from tests.e2e.conftest import Dpat, Site, running_site
from tests.packages import install

PACKAGE = """
from slidehook import App, MultiArea, Result, TaggedPolygon

class Whole(App):
    id = "whole"
    name = "Whole slide"

    def analyze(self, slide, progress):
        return Result("x")

class Tagged(Whole):
    id = "tagged"
    input = TaggedPolygon(tags=["a", "b"])

    def on_modify(self, result):
        return result

class Areas(Whole):
    id = "areas"
    input = MultiArea()
    max_polygons, max_points, max_patches = 10_000, 150_000, 10

class Small(Whole):
    id = "small"
    max_polygons, max_points, max_patches = 3, 20, 5
"""
FRAME = Frame(91_237, 47_111)


class Whole(App):
    id = "whole"
    name = "Whole slide"
    input: ClassVar[WholeSlide | TaggedPolygon | MultiArea] = WholeSlide()

    def analyze(self, slide: Slide, progress: Progress) -> Result:
        raise NotImplementedError


class Tagged(Whole):
    id = "tagged"
    input = TaggedPolygon(tags=["a", "b"])


class Areas(Whole):
    id = "areas"
    input = MultiArea()
    max_polygons, max_points, max_patches = 10_000, 150_000, 10


class Small(Whole):
    id = "small"
    max_polygons, max_points, max_patches = 3, 20, 5


APPS: list[type[App]] = [Whole, Tagged, Areas, Small]


@pytest.fixture(scope="module")
def large_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    names = {app.id: app.__name__ for app in APPS}
    folder = install(tmp_path_factory.mktemp("site-packages"), "large_apps", PACKAGE, names)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder))
        with running_site(tmp_path_factory.mktemp("large"), web_processes="1") as site:
            site.start_web()
            yield site


@pytest.fixture
def dpat(large_site: Site, new_dpat: Callable[..., Dpat]) -> Dpat:
    dpat = new_dpat(large_site)
    for app in APPS:
        dpat.register(f"{large_site.url}/apps/{app.id}")
        dpat.enable(app.id)
    return dpat


def full(app: type[App], *, gallery: bool) -> Result:
    """Make a result with all that an app may send, at places that take as many digits as places can."""
    result = Result("largest", {f"Row {number}": math.pi * number for number in range(100)})
    each = max(3, app.max_points // app.max_polygons)
    for number in range(min(app.max_polygons, app.max_points // each)):
        turns = [2 * math.pi * corner / each for corner in range(each)]
        x, y = 100 + 9.1 * number, 50 + 4.7 * number
        result.polygon([PixelPoint(x + math.cos(turn) * 3, y + math.sin(turn) * 3) for turn in turns])
    if gallery:
        result.gallery = Gallery(["a", "b"])
        for number in range(app.max_patches):
            result.gallery.add("a", PixelPoint(math.e * number, math.pi * number), sort_key=math.sqrt(number + 0.1))
    assert within_limits(app, result) is result
    return result


def stored(dpat: Dpat, app: type[App], slide_id: str, result: Result) -> dict[str, Any]:
    """Store a result as a worker would."""
    job = Job(
        id=new_job_id(1),
        app_id=app.id,
        slide_id=slide_id,
        created_at=0,
        trigger="user",
        input=WholeSlideInput(),
        system="dpat",
        address=dpat.callback_url,
        secret="t",
    )
    record = RecordMaker(app(), job, FRAME).done(result, FRAME)
    return dpat.result_store.create(app.id, record.to_wire())


def pretty(body: dict[str, Any]) -> bytes:
    """Write a body as wordily as a server may."""
    # Not by `json`, which indents in Python: ten times slower.
    return to_json(body, indent=4).replace(b"\n", b"\r\n")


def post(site: Site, app: type[App], raw: bytes) -> requests.Response:
    return requests.post(f"{site.url}/apps/{app.id}", data=raw, timeout=120)


@pytest.mark.parametrize("gallery", [False, True], ids=["shapes", "gallery"])
@pytest.mark.parametrize("app", APPS)
def test_the_largest_result_of_each_app_can_be_changed_and_deleted(
    large_site: Site, dpat: Dpat, app: type[App], *, gallery: bool
) -> None:
    slide_id = dpat.add_slide(imageSize={"width": FRAME.width, "height": FRAME.height})
    before = stored(dpat, app, slide_id, full(app, gallery=gallery))
    given = {**before, "displayResult": "changed", "newerServers": {"add": "x" * (MIB // 2)}}

    def send(action: str, result: dict[str, Any]) -> Any:
        body = dpat.body(slide_id, applicationId=app.id, action=action, input=result)
        raw = pretty(body)
        assert len(raw) <= most_body_bytes(app.most_record_bytes())
        assert app is Small or len(raw) > MIB
        return post(large_site, app, raw)

    answer = send("modify", given)
    assert answer.status_code == 200, answer.text[:300]
    (now,) = dpat.results(app.id, slide_id)
    assert now["versionId"] != before["versionId"]
    assert now["data"]["result"] == before["data"]["result"]
    assert send("delete", now).status_code == 200


def test_what_could_not_come_back_is_refused_in_one_sentence(large_site: Site, dpat: Dpat) -> None:
    body = b" " * (most_body_bytes(Small.most_record_bytes()) + 1)
    answer = post(large_site, Small, body)
    assert (answer.status_code, answer.json()) == (413, {"error": "The body is larger than 6 MiB."})
