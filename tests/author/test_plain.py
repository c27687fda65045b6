from __future__ import annotations

import pickle
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter

from slidehook import Button, Gallery, Patch, PixelPoint, Quality, Result
from slidehook.errors import AppError
from slidehook.result import Shape, Text
from slidehook.results.checks import OWN, copied
from slidehook.results.fewer_shapes import within_budget
from slidehook.results.sanitize import sanitize_result

A, B, C = PixelPoint(0, 0), PixelPoint(1, 0), PixelPoint(1, 1)
BLUE = "#0078D4"


class Odd:
    """Something of an author's own."""


class Words(str):
    """A text of an author's own, which no other process may know."""

    __slots__ = ()


def gallery(**changes: Any) -> Result:
    given: dict[str, Any] = {
        "tags": ["a", "b"],
        "patches": [Patch("a", A)],
        "buttons": [Button("go", "Go")],
    } | changes
    return Result("x", gallery=Gallery(**given))


def test_a_right_result_stays_what_it_is() -> None:
    result = Result("x", {"n": 1, "p": 0.5, "t": "words"}, quality=Quality.OK)
    result.polygon([A, B, C]).polyline([A, B]).label(C, "here")
    assert sanitize_result(result) == result
    assert sanitize_result(gallery().polygon([A, B, C])) == gallery().polygon([A, B, C])


def test_the_copy_shares_nothing_that_can_change() -> None:
    result = gallery()
    copy = sanitize_result(result)
    result.properties["n"] = 1
    assert result.gallery is not None
    result.gallery.patches.clear()
    assert copy == gallery()


def test_numpys_numbers_become_pythons_and_truths_become_words() -> None:
    found: Any = {"n": np.int64(3), "p": np.float32(0.5), "yes": np.True_, "no": False}
    place: Any = np.array([7, 8], np.float32)
    copy = sanitize_result(Result("x", found).label(PixelPoint(*place), "t"))
    assert copy.properties == {"n": 3, "p": 0.5, "yes": "yes", "no": "no"}
    assert {type(each) for each in copy.properties.values()} == {int, float, str}
    assert (type(copy.texts[0].at.x), copy.texts[0].at) == (float, PixelPoint(7, 8))


def test_nothing_of_an_authors_own_classes_is_left() -> None:
    class Mine(Result):
        """A result with something in it that can't be pickled."""

    mine = Mine(Words("x"), {Words("name"): Words("value")})
    mine.hidden = lambda: None  # type: ignore[attr-defined]
    copy = sanitize_result(mine)
    assert type(copy) is Result
    assert {type(each) for each in (copy.text, *copy.properties, *copy.properties.values())} == {str}
    assert pickle.loads(pickle.dumps(copy)) == copy  # noqa: S301 - our own


@pytest.mark.parametrize("quality", [Quality.REJECTED, "Rejected"])
def test_a_quality_may_be_written_as_dpat_writes_it(quality: Any) -> None:
    assert sanitize_result(Result("x", quality=quality)).quality is Quality.REJECTED


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        (Result(None), "text must be a text, not NoneType"),  # type: ignore[arg-type]
        (Result("\ud800"), "surrogates not allowed"),
        (Result("x", {"Areas": [1, 2]}), r"properties\.Areas must be a text or a number, not list"),  # type: ignore[dict-item]
        (Result("x", {"f": lambda: 1}), r"properties\.f must be a text or a number, not function"),  # type: ignore[dict-item]
        (Result("x", {1: 1}), "properties must be a text, not int"),  # type: ignore[dict-item]
        (Result("x", {"Area": float("nan")}), r"properties\.Area is nan"),
        (Result("x", {"Area": np.float64("inf")}), r"properties\.Area is inf"),
        (Result("x", None), "no attribute 'items'"),  # type: ignore[arg-type]
        (Result("x").label(PixelPoint(float("nan"), 0), "t"), r"texts\.0 lies at \(nan, 0\.0\)"),
        (Result("x").polyline([A, PixelPoint(0, float("inf"))]), r"shapes\.0\.points lies at \(0\.0, inf\)"),
        (Result("x").polygon([(0, 0), (1, 1), (1, 0)]), "holds a tuple where a PixelPoint belongs"),  # type: ignore[list-item]
        (Result("x", shapes=[Odd()]), "shapes holds a Odd where a Shape belongs"),  # type: ignore[list-item]
        (Result("x", shapes=[Shape((A, B), "red")]), "a colour is written #RRGGBB, not 'red'"),
        (Result("x", texts=[Text(A, "t", "#12345")]), "a colour is written #RRGGBB"),
        (Result("x", texts=[Text(A, 5, BLUE)]), "must be a text, not int"),  # type: ignore[arg-type]
        (Result("x", quality="Good"), "'Good' is not a valid Quality"),  # type: ignore[arg-type]
        (Result("x", gallery=Odd()), "gallery holds a Odd"),  # type: ignore[arg-type]
        (gallery().label(A, "t"), "beside a gallery there can be polygons, but neither lines nor labels"),
        (gallery().polyline([A, B]), "neither lines nor labels"),
        (gallery(tags=["a", "a"]), "holds a tag twice"),
        (gallery(patches=[Patch("c", A)]), r"gallery\.patches\.0\.tag is 'c', not one of gallery\.tags"),
        (gallery(patches=[("a", A)]), "holds a tuple where a Patch belongs"),
        (gallery(patches=[Patch("a", A, float("nan"))]), r"gallery\.patches\.0 is nan"),
        (gallery(patch_size_px=0), r"gallery\.patch_size_px must be a number above 0"),
        (gallery(magnification="20x"), r"gallery\.magnification must be a number above 0"),
        (gallery(buttons=[Button("go", "Go"), Button("go", "Stop")]), "two of gallery.buttons have the same id"),
        (gallery(buttons=[Button(1, "Go")]), r"gallery\.buttons must be a text, not int"),  # type: ignore[arg-type]
        (gallery(description=None), r"gallery\.description must be a text"),
    ],
)
def test_what_dpat_can_not_take_is_the_apps_fault_and_is_named(result: Result, reason: str) -> None:
    with pytest.raises(AppError, match=f"^the app's result can't be sent to DPAT: .*{reason}"):
        sanitize_result(result)


# --- no field is lost

EVERY_FIELD: dict[type, dict[str, Any]] = {
    PixelPoint: {"x": 7.5, "y": 8.5},
    Shape: {"points": (A, B, C), "colour": "#D13438", "closed": False, "name": "tumour"},
    Text: {"at": PixelPoint(50, 60), "words": "here", "colour": "#D13438"},
    Patch: {"tag": "b", "at": C, "sort_key": 0.75},
    Button: {"id": "go", "name": "Go", "tooltip": "on", "pressed": True},
    Gallery: {
        "tags": ["a", "b"],
        "patches": [Patch("b", C, 0.75)],
        "patch_size_px": 96,
        "magnification": 40,
        "description": "nuclei",
        "buttons": [Button("go", "Go", "on", pressed=True)],
    },
    Result: {
        "text": "found",
        "properties": {"n": 3},
        "shapes": [Shape((A, B, C), "#D13438", name="tumour")],
        "texts": [Text(PixelPoint(50, 60), "here", "#D13438")],
        "gallery": None,
        "quality": Quality.REJECTED,
    },
}
"""A value for each field of each class that a result is made of, none of them the field's default but `gallery`."""
WHOLE = [
    Result(**EVERY_FIELD[Result]),
    Result("found", shapes=[Shape((A, B, C), BLUE)], gallery=Gallery(**EVERY_FIELD[Gallery])),
]


def by_field(value: Any) -> Any:
    """Take apart what may leave fields out of its comparison."""
    if isinstance(value, OWN):
        return {each.name: by_field(getattr(value, each.name)) for each in fields(value)}
    return [by_field(each) for each in value] if isinstance(value, list | tuple) else value


def test_every_field_has_a_value_to_be_tried_with() -> None:
    for kind in OWN:
        assert EVERY_FIELD[kind].keys() == {each.name for each in fields(kind)}, kind


@pytest.mark.parametrize("kind", OWN, ids=lambda kind: str(kind.__name__))
def test_no_field_of_a_result_is_lost_in_the_copy(kind: type) -> None:
    part = kind(**EVERY_FIELD[kind])
    point = part if kind is PixelPoint else A
    carriers: dict[type, Result] = {
        PixelPoint: Result("x", texts=[Text(point, "here", BLUE)]),
        Shape: Result("x", shapes=[part]),
        Text: Result("x", texts=[part]),
        Patch: gallery(patches=[part]),
        Button: gallery(buttons=[part]),
        Gallery: Result("x", gallery=part),
        Result: part,
    }
    assert by_field(sanitize_result(carriers[kind])) == by_field(carriers[kind])


@pytest.mark.parametrize("result", WHOLE)
def test_no_field_of_a_result_is_lost_on_its_way_through_budget_and_files(result: Result) -> None:
    kept = within_budget(result, max_polygons=10, max_points=100, mpp=0.25)
    assert by_field(kept) == by_field(result)
    known = TypeAdapter(Result)
    assert by_field(known.validate_json(known.dump_json(result))) == by_field(result)
    shrunk = within_budget(replace(result, properties={}), max_polygons=0, max_points=100, mpp=0.25)
    left = {each.name for each in fields(Result)} - {"shapes", "properties"}
    assert {name: getattr(shrunk, name) for name in left} == {name: getattr(result, name) for name in left}


@dataclass
class Later(Result):
    """A result as it may be one day, with a field that nobody has thought of yet."""

    more: dict[str, Any] = field(default_factory=dict)


def test_a_field_that_is_added_later_is_copied_and_made_plain() -> None:
    given = Later("x", more={"n": np.int64(3), "words": Words("mine"), "at": [A, (B, None)], "on": True})
    copy = copied(Later, given, "")
    assert copy == given
    assert {name: type(each) for name, each in copy.more.items()} == {"n": int, "words": str, "at": list, "on": bool}
    with pytest.raises(TypeError, match=r"more\.odd must be a text or a number, not Odd"):
        copied(Later, Later("x", more={"odd": Odd()}), "")
