from __future__ import annotations

from typing import Any

import pytest
from shapely import Polygon

from slidehook import Button, Gallery, Patch, Quality, Result
from slidehook.errors import AppError
from slidehook.geometry import PixelPoint
from slidehook.results.sanitize import sanitize_result

A, B, C = PixelPoint(0, 0), PixelPoint(1, 0), PixelPoint(1, 1)


def test_shapes_and_labels_are_added_one_after_the_other() -> None:
    result = Result("two", {"n": 2}).polygon([A, B, C]).polyline([A, B], colour="#FF0000").label(C, "here")
    assert [(shape.points, shape.closed) for shape in result.shapes] == [((A, B, C), True), ((A, B), False)]
    assert [shape.colour for shape in result.shapes] == ["#0078D4", "#FF0000"]
    assert [(text.at, text.words) for text in result.texts] == [(C, "here")]


def test_an_area_is_outlined_with_its_holes_which_say_that_they_are() -> None:
    area = Polygon([(0, 0), (9, 0), (9, 9)], [[(5, 2), (6, 2), (6, 3)]])
    outer, hole = Result("one").outline(area, colour="#FF0000", name="tumour").shapes
    assert (outer.name, hole.name, hole.colour) == ("tumour", "hole in tumour", "#FF0000")
    assert outer.points == (PixelPoint(0, 0), PixelPoint(9, 0), PixelPoint(9, 9))
    assert hole.points == (PixelPoint(5, 2), PixelPoint(6, 2), PixelPoint(6, 3))
    assert [each.name for each in Result("one").outline(area).shapes] == ["", "hole"]


def test_a_shape_keeps_its_points_when_the_authors_list_changes() -> None:
    points = [A, B, C]
    result = Result("one").polygon(points)
    points.clear()
    assert result.shapes[0].points == (A, B, C)


def test_results_share_nothing() -> None:
    Result("one").label(A, "x").properties["n"] = 1
    assert Result("two") == Result("two", {}, [], [])


@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_polygon_of_fewer_than_three_points_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match="3 points"):
        Result("x").polygon([A, B][:count])


@pytest.mark.parametrize("count", [0, 1])
def test_a_line_of_fewer_than_two_points_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match="2 points"):
        Result("x").polyline([A][:count])


@pytest.mark.parametrize("colour", ["red", "#FFF", "#GGGGGG", "0078D4", "#0078D4FF", "#0078D4\n", "", None, 5])
def test_what_is_no_colour_is_refused_where_it_is_written(colour: Any) -> None:
    with pytest.raises(ValueError, match="a colour is written #RRGGBB"):
        Result("x").polygon([A, B, C], colour=colour)
    with pytest.raises(ValueError, match="a colour is written #RRGGBB"):
        Result("x").polyline([A, B], colour=colour)
    with pytest.raises(ValueError, match="a colour is written #RRGGBB"):
        Result("x").label(A, "x", colour=colour)


def test_a_gallery_counts_its_patches_by_tag() -> None:
    gallery = Gallery(["positive", "negative", "other"])
    gallery.add("negative", A).add("positive", B, sort_key=2).add("negative", C)
    assert gallery.counts() == {"positive": 1, "negative": 2, "other": 0}
    assert gallery.patches[1] == Patch("positive", B, 2)


def test_a_patch_with_a_tag_that_the_gallery_does_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match=r"the gallery's tags are \['a'\]; 'b' is none of them"):
        Gallery(["a"]).add("b", A)


def test_a_result_tells_which_buttons_were_pressed() -> None:
    buttons = [Button("a", "A"), Button("b", "B", pressed=True), Button("c", "C", pressed=True)]
    assert Result("x", gallery=Gallery([], buttons=buttons)).pressed == ("b", "c")
    assert Result("x").pressed == ()


def test_a_quality_is_written_as_dpat_writes_it() -> None:
    assert [str(each) for each in Quality] == ["QualityOk", "Rejected", "NotSet"]


def test_a_gallery_has_as_many_tags_as_dpat_shows_and_no_more() -> None:
    assert len(Gallery(list("abcde")).tags) == 5
    with pytest.raises(ValueError, match="a gallery has at most 5 tags, not 6: DPAT shows no more"):
        Gallery(list("abcdef"))
    with pytest.raises(TypeError, match="a list of texts, not the one text 'tumour'"):
        Gallery("tumour")  # type: ignore[arg-type]


def test_a_gallery_that_got_too_many_tags_later_is_the_apps_fault() -> None:
    gallery = Gallery(list("abcde"))
    gallery.tags.append("f")
    with pytest.raises(AppError, match="can't be sent to DPAT: a gallery has at most 5 tags, not 6"):
        sanitize_result(Result("x", gallery=gallery))
