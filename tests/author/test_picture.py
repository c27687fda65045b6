from __future__ import annotations

import pytest
from PIL import Image

from slidehook import Gallery
from slidehook.geometry import Frame, PixelPoint
from slidehook.result import Result
from slidehook.results.colours import tag_colour
from slidehook.results.picture import draw_result

WHITE, RED = (255, 255, 255), (255, 0, 0)


@pytest.fixture
def overview() -> Image.Image:
    """A white slide of 2000 x 1000, five times smaller."""
    return Image.new("RGB", (400, 200), WHITE)


def test_a_polygon_is_drawn_where_it_lies_on_the_slide(overview: Image.Image, frame: Frame) -> None:
    square = frame.rectangle(0.25, 0.5, 0.75, 1)
    picture = draw_result(overview, Result("x").polygon(square, colour="#FF0000"), frame)
    for on_line in ((100, 150), (300, 150), (200, 100), (100, 100)):
        assert picture.getpixel(on_line) == RED
    for off_line in ((200, 150), (50, 150), (200, 50)):
        assert picture.getpixel(off_line) == WHITE


def test_an_open_line_is_not_closed(overview: Image.Image, frame: Frame) -> None:
    corner = [PixelPoint(500, 250), PixelPoint(1500, 250), PixelPoint(1500, 750)]
    picture = draw_result(overview, Result("x").polyline(corner, colour="#FF0000"), frame)
    assert picture.getpixel((200, 50)) == RED
    assert picture.getpixel((300, 100)) == RED
    assert picture.getpixel((200, 100)) == WHITE


def test_a_label_is_written_below_and_right_of_its_place(overview: Image.Image, frame: Frame) -> None:
    picture = draw_result(overview, Result("x").label(PixelPoint(1000, 500), "HHH", colour="#FF0000"), frame)
    drawn = [(x, y) for x in range(400) for y in range(200) if picture.getpixel((x, y)) != WHITE]
    assert drawn
    assert min(x for x, _ in drawn) >= 200
    assert min(y for _, y in drawn) >= 100


def test_the_overview_itself_is_left_as_it_was(overview: Image.Image, frame: Frame) -> None:
    grey = overview.convert("L")
    picture = draw_result(grey, Result("x").label(PixelPoint(0, 0), "here"), frame)
    assert picture.mode == "RGB"
    assert grey.getextrema() == (255, 255)
    assert picture.convert("L").getextrema() != (255, 255)


def test_what_lies_outside_the_slide_is_cut_off(overview: Image.Image, frame: Frame) -> None:
    result = Result("x").polyline([PixelPoint(-9e6, -9e6), PixelPoint(9e6, 9e6)]).label(PixelPoint(9e6, -9e6), "far")
    assert draw_result(overview, result, frame).size == overview.size


def test_a_gallerys_patches_are_squares_in_their_tags_colours(overview: Image.Image, frame: Frame) -> None:
    gallery = (
        Gallery(["positive", "negative"])
        .add("negative", PixelPoint(1000, 500))
        .add("positive", PixelPoint(1500, 500))
    )
    result = Result("x", gallery=gallery).polygon(frame.rectangle(0.25, 0.7, 0.75, 1))
    picture = draw_result(overview, result, frame)
    red, blue = (tuple(bytes.fromhex(tag_colour(place)[1:])) for place in (0, 1))
    for x, colour, other in ((200, blue, red), (300, red, blue)):
        near = {picture.getpixel((x + dx, 100 + dy)) for dx in range(-4, 5) for dy in range(-4, 5)}
        assert colour in near
        assert other not in near
    # The polygon, in a gallery's one colour, and the legend.
    assert picture.getpixel((200, 170)) == WHITE
    assert picture.getpixel((100, 170)) == blue
    legend = {picture.getpixel((x, y)) for x in range(12, 80) for y in range(12, 50)}
    assert {blue, red} <= legend


def test_of_very_many_patches_each_is_small(overview: Image.Image, frame: Frame) -> None:
    def coloured(count: int) -> int:
        gallery = Gallery(["a"])
        for _ in range(count):
            gallery.add("a", PixelPoint(1000, 500))
        picture = draw_result(overview, Result("x", gallery=gallery), frame)
        return sum(picture.getpixel((x, y)) != WHITE for x in range(180, 220) for y in range(80, 120))

    assert coloured(5000) < coloured(1)


def test_what_the_user_drew_is_a_black_line(overview: Image.Image, frame: Frame) -> None:
    drawn = [frame.rectangle(0.25, 0.5, 0.75, 1)]
    picture = draw_result(overview, Result("x"), frame, drawn)
    assert picture.getpixel((100, 150)) == (0, 0, 0)
    assert picture.getpixel((200, 150)) == WHITE


def test_an_empty_gallery_leaves_the_overview_as_it_is(overview: Image.Image, frame: Frame) -> None:
    assert draw_result(overview, Result("x", gallery=Gallery([])), frame).tobytes() == overview.tobytes()
