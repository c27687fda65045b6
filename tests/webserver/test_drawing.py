"""A user's regions are checked before anything is queued."""

from __future__ import annotations

from typing import Any

import pytest
from werkzeug.test import TestResponse

from tests.webserver.site import SQUARE, Site


def points(*corners: tuple[float, float]) -> dict[str, Any]:
    return {"points": [{"x": x, "y": y} for x, y in corners]}


def draw(site: Site, *polygons: Any) -> TestResponse:
    drawn = {"type": "multiArea", "content": {"polygons": list(polygons)}}
    return site.post("/apps/areas", applicationId="areas", input=drawn)


def tag(site: Site, **content: Any) -> TestResponse:
    drawn = {"type": "taggedPolygon", "content": {"polygon": {"points": SQUARE}, **content}}
    return site.post("/apps/tagged", applicationId="tagged", input=drawn)


def error(answer: TestResponse) -> str:
    assert answer.json is not None
    return str(answer.json["error"])


def test_a_users_region_is_queued_unchanged(site: Site) -> None:
    drawn = {"points": [*SQUARE, SQUARE[0], {"x": -0.1, "y": 0.15}]}
    assert draw(site, drawn).status_code == 200
    (job,) = site.jobs()
    assert job.input.model_dump(exclude_none=True)["content"]["polygons"] == [drawn]


@pytest.mark.parametrize(
    ("polygons", "reason"),
    [
        ([], "No region was drawn."),
        ([points((0.1, 0.1), (0.2, 0.2))], "The region needs at least three different points."),
        ([{"points": SQUARE}, points((0.1, 0.1), (0.2, 0.2), (0.3, 0.3))], "Region 2 has no area."),
        ([points((0.1, 0.1), (0.2, 0.2), (0.2, 0.1), (0.1, 0.2))], "The region crosses itself"),
        ([points((1e300, 0), (0, 0), (0, 1))], "absurdly far"),
        ([{"points": [{"x": float("nan"), "y": 0}]}], "input.content.polygons.0.points.0.x"),
        ([{"points": [{"x": float("inf"), "y": 0}]}], "input.content.polygons.0.points.0.x"),
        ([{"points": None}], "input.content.polygons.0.points"),
        ([{}], "input.content.polygons.0.points"),
        ([[]], "input.content.polygons.0"),
    ],
)
def test_an_invalid_region_is_refused_before_any_call(site: Site, polygons: Any, reason: str) -> None:
    answer = draw(site, *polygons)
    assert answer.status_code == 400
    assert reason in error(answer)
    assert not site.dpat.calls
    assert not site.files()


@pytest.mark.parametrize(
    "corners",
    [((1.1, 0.1), (1.2, 0.1), (1.2, 0.2)), ((0.1, 0.6), (0.2, 0.6), (0.2, 0.9)), ((-1, -1), (0, 0), (-1, 0))],
)
def test_a_region_outside_the_slide_is_refused_and_not_queued(site: Site, corners: Any) -> None:
    answer = draw(site, points(*corners))
    assert answer.status_code == 400
    assert error(answer) == "The region lies outside the slide."
    assert [call.method for call in site.dpat.calls] <= ["GET"]
    assert not site.files()


def test_on_a_slide_of_unknown_size_the_worker_checks_the_region(site: Site) -> None:
    del site.dpat.record["imageSize"]
    assert draw(site, points((0.1, 0.6), (0.2, 0.6), (0.2, 0.9))).status_code == 200
    assert len(site.jobs()) == 1


@pytest.mark.parametrize("content", [{"tags": ["tumour", "stroma"], "tagIndex": 1}, {"tagIndex": 0}, {}])
def test_a_tag_of_the_apps_is_queued(site: Site, content: Any) -> None:
    assert tag(site, **content).status_code == 200
    assert len(site.jobs()) == 1


@pytest.mark.parametrize(
    "content", [{"tags": ["fat"], "tagIndex": 0}, {"tags": ["tumour", "stroma"], "tagIndex": 2}, {"tagIndex": -1}]
)
def test_an_unknown_tag_is_refused_before_any_call(site: Site, content: Any) -> None:
    answer = tag(site, **content)
    assert answer.status_code == 400
    assert "tag" in error(answer)
    assert not site.dpat.calls
    assert not site.files()
