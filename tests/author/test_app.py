from __future__ import annotations

import types
from typing import Any

import pytest

from slidehook import App, MultiArea, Progress, Result, Slide, TaggedPolygon, WholeSlide
from slidehook.app import NoParams
from slidehook.models import ImageInfo
from tests.author.sample_apps import Good, Other, SameRoute


def declare(**words: Any) -> type[App]:
    """Write a class as an author would."""

    def analyze(self: App, slide: Slide, progress: Progress) -> Result:
        raise NotImplementedError

    body = {"id": "one", "name": "One", "analyze": analyze, **words}
    return types.new_class("One", (App,), exec_body=lambda space: space.update(body))


@pytest.mark.parametrize("app_id", ["one", "a", "tissue-area-2", "7", "x" * 64])
def test_a_right_id_is_taken_and_gives_the_route(app_id: str) -> None:
    assert declare(id=app_id).route == f"/apps/{app_id}"


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ({"id": ""}, r"One\.id must be"),
        ({"id": "Tissue"}, r"One\.id must be"),
        ({"id": "a_b"}, r"One\.id must be"),
        ({"id": "-a"}, r"One\.id must be"),
        ({"id": "a--b"}, r"One\.id must be"),
        ({"id": "a/../b"}, r"One\.id must be"),
        ({"id": "a\n"}, r"One\.id must be"),
        ({"id": "x" * 65}, r"One\.id must be"),
        ({"name": ""}, r"One\.name must say"),
        ({"name": 5}, r"must be texts"),
        ({"version": 1.0}, r"must be texts"),
        ({"route": "apps/one"}, r"One\.route must look like /apps/one"),
        ({"route": "/"}, r"One\.route"),
        ({"route": "/apps/one/"}, r"One\.route"),
        ({"route": "/a b"}, r"One\.route"),
        ({"route": "/<path:x>"}, r"One\.route"),
        ({"priority": 10}, r"One\.priority"),
        ({"priority": -1}, r"One\.priority"),
        ({"timeout": 0}, r"One\.timeout"),
        ({"timeout": float("nan")}, r"One\.timeout"),
        ({"needs": "files"}, r"One\.needs must be some of files, label, thumbnail, tiles"),
        ({"needs": ("files", "slides")}, r"One\.needs must be some of"),
        ({"depends_on": "A B"}, r"One\.depends_on must be another app's id"),
        ({"depends_on": 5}, r"One\.depends_on must be another app's id"),
        ({"depends_on": "one"}, r"One\.depends_on must be another app's id, not its own"),
        ({"memory_gb": 0}, r"One\.memory_gb must be above 0"),
        ({"memory_gb": float("inf")}, r"One\.memory_gb must be above 0"),
        ({"memory_gb": float("nan")}, r"One\.memory_gb must be above 0"),
        ({"max_polygons": 0}, r"One\.max_polygons must be a whole number, 1 at least"),
        ({"max_polygons": 2.5}, r"One\.max_polygons must be a whole number"),
        ({"max_points": 2}, r"One\.max_points must be a whole number, 3 at least"),
        ({"params": {"limit": 5}}, r"One\.params must be an instance of a pydantic model"),
        ({"params": NoParams}, r"One\.params must be an instance of a pydantic model"),
        ({"input": WholeSlide}, r"One\.input must be WholeSlide\(\)"),
        ({"input": None}, r"One\.input"),
    ],
)
def test_a_declaration_that_can_not_work_is_refused_where_it_is_written(words: dict[str, Any], reason: str) -> None:
    with pytest.raises(TypeError, match=reason):
        declare(**words)


def test_an_id_and_a_name_can_not_be_left_out() -> None:
    with pytest.raises(TypeError, match="id must be"):
        types.new_class("One", (App,), exec_body=lambda space: space.update({"analyze": Good.analyze}))


def test_a_base_class_that_does_not_analyse_needs_no_id_but_can_not_be_made() -> None:
    class Base(App):
        def setup(self) -> None:
            """Load the model that several apps share."""

    with pytest.raises(TypeError, match="abstract"):
        Base()  # type: ignore[abstract]


def test_an_app_made_of_another_gets_a_route_of_its_own() -> None:
    assert (Good.route, Other.route, SameRoute.route) == ("/apps/good", "/apps/other", "/apps/good")


@pytest.mark.parametrize(
    ("wanted", "template"),
    [
        (WholeSlide(), {"type": "wholeSlide"}),
        (TaggedPolygon(["a", "b"]), {"type": "taggedPolygon", "content": {"tags": ["a", "b"]}}),
        (TaggedPolygon(tags=("a",)), {"type": "taggedPolygon", "content": {"tags": ["a"]}}),
        (MultiArea(), {"type": "multiArea"}),
    ],
)
def test_the_input_template_tells_dpat_what_to_ask_for(wanted: Any, template: dict[str, Any]) -> None:
    assert declare(input=wanted).input_template().to_wire() == template


@pytest.mark.parametrize("needs", [(), ("tiles",), ["files", "label"], {"thumbnail"}, frozenset({"files"})])
def test_an_app_says_what_it_needs_in_any_collection(needs: Any) -> None:
    assert declare(needs=needs).needs == frozenset(needs)


def test_an_app_has_limits_of_shapes_and_none_of_memory_unless_it_says_otherwise() -> None:
    assert (Good.max_polygons, Good.max_points, Good.memory_gb, Good.depends_on) == (2000, 50_000, None, None)
    other = declare(max_polygons=5, max_points=10, memory_gb=0.5, depends_on="good")
    assert (other.max_polygons, other.max_points, other.memory_gb, other.depends_on) == (5, 10, 0.5, "good")


def test_an_app_gets_the_files_and_an_overview_unless_it_says_otherwise() -> None:
    assert Good.needs == {"files", "thumbnail"}


def test_a_users_change_is_kept_as_it_is_unless_an_app_says_otherwise() -> None:
    result = Result("12 %")
    assert Good().on_modify(result) is result


def test_an_app_accepts_every_image_unless_it_says_otherwise() -> None:
    assert Good().accepts(ImageInfo(id="S-1"))
