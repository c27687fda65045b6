from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

from slidehook import Button, Gallery, Patch, PixelPoint, Quality, Result
from slidehook.errors import AppError
from slidehook.hosting.plain import plain
from slidehook.result import Shape, Text

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
    assert plain(result) == result
    assert plain(gallery().polygon([A, B, C])) == gallery().polygon([A, B, C])


def test_the_copy_shares_nothing_that_can_change() -> None:
    result = gallery()
    copy = plain(result)
    result.properties["n"] = 1
    assert result.gallery is not None
    result.gallery.patches.clear()
    assert copy == gallery()


def test_numpys_numbers_become_pythons_and_truths_become_words() -> None:
    found: Any = {"n": np.int64(3), "p": np.float32(0.5), "yes": np.True_, "no": False}
    place: Any = np.array([7, 8], np.float32)
    copy = plain(Result("x", found).label(PixelPoint(*place), "t"))
    assert copy.properties == {"n": 3, "p": 0.5, "yes": "yes", "no": "no"}
    assert {type(each) for each in copy.properties.values()} == {int, float, str}
    assert (type(copy.texts[0].at.x), copy.texts[0].at) == (float, PixelPoint(7, 8))


def test_nothing_of_an_authors_own_classes_is_left() -> None:
    class Mine(Result):
        """A result with something in it that can't be pickled."""

    mine = Mine(Words("x"), {Words("name"): Words("value")})
    mine.hidden = lambda: None  # type: ignore[attr-defined]
    copy = plain(mine)
    assert type(copy) is Result
    assert {type(each) for each in (copy.text, *copy.properties, *copy.properties.values())} == {str}
    assert pickle.loads(pickle.dumps(copy)) == copy  # noqa: S301 - our own


@pytest.mark.parametrize("quality", [Quality.REJECTED, "Rejected"])
def test_a_quality_may_be_written_as_dpat_writes_it(quality: Any) -> None:
    assert plain(Result("x", quality=quality)).quality is Quality.REJECTED


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
        plain(result)
