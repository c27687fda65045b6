from __future__ import annotations

import types
from typing import Any

import pytest

from slidehook import App, MultiArea, Progress, Result, Slide, TaggedPolygon, WholeSlide
from slidehook.iaapi.models import ImageInfo
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
        ({"timeout_s": 0}, r"One\.timeout_s"),
        ({"timeout_s": float("nan")}, r"One\.timeout_s"),
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


def test_an_app_accepts_every_image_unless_it_says_otherwise() -> None:
    assert Good().accepts(ImageInfo(id="S-1"))
