from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely import Polygon, affinity

from slidehook import Slide
from slidehook.errors import PixelSizeUnknown, SlideUnreadable
from slidehook.geometry import Frame, PixelPoint
from slidehook.models import ImageInfo
from slidehook.pixels.resampling import copied
from slidehook.pixels.source import Box, Pixels
from slidehook.pixels.tiles import AHEAD, Mask, Tile, TilePlan, TileReading, plan_tiles
from slidehook.regions import Region

WAIT_S = 120.0
unhurried = settings(deadline=None, max_examples=50)


class Counting:
    """Returns each part in the colour of its place, and counts; none before `together` of them are under way."""

    def __init__(self, *, fails_at: float | None = None, together: int = 1) -> None:
        self.begun: list[float] = []
        self.most_at_once = 0
        self._at_once = 0
        self._fails_at = fails_at
        self._together = together
        self._all_here = threading.Event()
        self._lock = threading.Lock()

    size = (10_000, 10_000)
    stated_mpp = None
    objective_power = None

    def read(self, box: Box, columns: int, rows: int, *, exact: bool = False, into: Pixels | None = None) -> Pixels:
        with self._lock:
            self.begun.append(box.x)
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            if self._at_once == self._together:
                self._all_here.set()
        assert self._all_here.wait(WAIT_S)
        with self._lock:
            self._at_once -= 1
        if box.x == self._fails_at:
            raise SlideUnreadable("broken here")
        return copied(np.full((rows, columns, 3), int(box.x) % 256, np.uint8), into)

    def close(self) -> None:
        pass


def row_of(count: int) -> TilePlan:
    return TilePlan(tuple((float(number), 0.0) for number in range(count)), 0)


@st.composite
def areas(draw: st.DrawFn) -> Box:
    x, y = draw(st.floats(-50, 500)), draw(st.floats(-50, 500))
    return Box(x, y, draw(st.floats(0.5, 700)), draw(st.floats(0.5, 700)))


# --- the plan


@unhurried
@given(areas(), st.floats(20, 900))
def test_a_plan_covers_its_area_and_no_tile_lies_beside_it(area: Box, side: float) -> None:
    plan = plan_tiles(Frame(600, 600), side, area=area)
    squares = shapely.box(*np.array([(x, y, x + side, y + side) for x, y in plan.places]).T)
    wanted = shapely.box(area.x, area.y, area.x + area.width, area.y + area.height)
    assert shapely.difference(wanted, shapely.union_all(squares, grid_size=1e-6)).area < 1e-3
    assert (shapely.area(shapely.intersection(squares, wanted)) > 0).all()
    assert sum(shapely.area(squares)) == pytest.approx(len(plan.places) * side**2)


@unhurried
@given(st.integers(1, 200), st.integers(1, 200), st.integers(1, 90))
def test_each_pixel_of_a_slide_lies_in_one_tile(width: int, height: int, side: int) -> None:
    hits = np.zeros((height, width), int)
    for x, y in plan_tiles(Frame(width, height), side).places:
        hits[int(y) : int(y) + side, int(x) : int(x) + side] += 1
    assert (hits == 1).all()


def test_tiles_are_laid_row_by_row() -> None:
    plan = plan_tiles(Frame(25, 15), 10)
    assert plan.places == ((0, 0), (10, 0), (20, 0), (0, 10), (10, 10), (20, 10))


def test_a_side_that_fits_but_for_an_error_of_arithmetic_needs_no_further_tile() -> None:
    side = 256 * 0.1 / 0.3
    assert len(plan_tiles(Frame(1024, 1024), side, area=Box(0, 0, 3 * side, 3 * side)).places) == 9


@st.composite
def masks(draw: st.DrawFn) -> Mask:
    rows, columns = draw(st.integers(1, 12)), draw(st.integers(1, 12))
    return np.array(draw(st.lists(st.booleans(), min_size=rows * columns, max_size=rows * columns))).reshape(
        rows, columns
    )


@unhurried
@given(masks(), st.floats(30, 700), st.sampled_from([0.0, 0.2, 0.5, 1.0]))
def test_of_the_tiles_those_are_read_of_which_enough_is_marked(where: Mask, side: float, least: float) -> None:
    frame = Frame(1000, 600)
    plan = plan_tiles(frame, side, where=where, least=least)
    every = plan_tiles(frame, side).places
    assert plan.left_out == len(every) - len(plan.places)
    rows, columns = where.shape
    edges = np.arange(columns + 1) * 1000 / columns, np.arange(rows + 1) * 600 / rows
    for x, y in every:
        # The mask's pixels that share an area with the tile.
        across = (edges[0][:-1] < x + side - 1e-3) & (edges[0][1:] > x + 1e-3)
        down = (edges[1][:-1] < y + side - 1e-3) & (edges[1][1:] > y + 1e-3)
        share = where[down][:, across].mean() if across.any() and down.any() else 0
        assert ((x, y) in plan.places) == (share > 0 and share >= least)


def test_a_mask_of_tiles_picks_just_its_tiles() -> None:
    where = np.zeros((3, 4), np.bool_)
    where[0, 1] = where[2, 3] = True
    assert plan_tiles(Frame(400, 300), 100, where=where).places == ((100, 0), (300, 200))


def test_nothing_marked_is_nothing_read() -> None:
    plan = plan_tiles(Frame(400, 300), 100, where=np.zeros((30, 40), np.bool_), least=0.0)
    assert plan == TilePlan((), 12)


@pytest.mark.parametrize("where", [np.ones((3, 3), np.uint8), np.ones(3, np.bool_), np.ones((0, 3), np.bool_)])
def test_what_is_no_mask_is_refused(where: Any) -> None:
    with pytest.raises(ValueError, match="mask of bool"):
        plan_tiles(Frame(400, 300), 100, where=where)


@pytest.mark.parametrize("side", [0, -1, float("nan")])
def test_tiles_without_a_size_are_refused(side: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        plan_tiles(Frame(400, 300), side)


# --- the readers


@pytest.mark.parametrize("readers", [1, 2, 5, None])
def test_tiles_come_in_the_plans_order(readers: int | None) -> None:
    tiles = list(TileReading(Counting(), row_of(100), size=4, scale=1, readers=readers).tiles())
    assert [tile.x for tile in tiles] == list(range(100))
    assert [int(tile.pixels[0, 0, 0]) for tile in tiles] == list(range(100))


def test_several_readers_read_at_once_and_not_too_far_ahead() -> None:
    source = Counting(together=3)
    tiles = TileReading(source, row_of(100), size=4, scale=1, readers=3).tiles()
    next(tiles)
    assert source.most_at_once == 3
    assert len(source.begun) <= 3 * AHEAD + 1
    for done, _ in enumerate(tiles, 2):
        assert len(source.begun) <= done + 3 * AHEAD
    assert len(source.begun) == 100


@pytest.mark.parametrize("readers", [1, 3])
def test_what_a_reader_raises_reaches_the_app_in_its_place(readers: int) -> None:
    source = Counting(fails_at=7)
    tiles = TileReading(source, row_of(100), size=4, scale=1, readers=readers).tiles()
    assert [next(tiles).x for _ in range(7)] == list(range(7))
    with pytest.raises(SlideUnreadable, match="broken here"):
        next(tiles)
    assert len(source.begun) <= 8 + 3 * AHEAD
    assert reading_threads() == set()


def test_an_app_that_stops_early_stops_the_readers() -> None:
    source = Counting()
    tiles = TileReading(source, row_of(1000), size=4, scale=1, readers=3).tiles()
    assert isinstance(tiles, Iterator)
    for tile in tiles:
        if tile.x == 5:
            break
    assert reading_threads()
    del tiles
    assert reading_threads() == set()
    assert len(source.begun) <= 6 + 3 * AHEAD


def reading_threads() -> set[threading.Thread]:
    return {each for each in threading.enumerate() if each.name.startswith("tiles")}


def test_nothing_is_read_before_the_first_tile_is_asked_for() -> None:
    source = Counting()
    TileReading(source, row_of(10), size=4, scale=1, readers=2).tiles()
    assert not source.begun


@pytest.mark.parametrize("readers", [1, 3])
def test_batches_have_all_tiles_in_one_array_each(readers: int) -> None:
    reading = TileReading(Counting(), row_of(100), size=4, scale=1, margin=1, readers=readers)
    batches = list(reading.batches(32))
    assert [len(pixels) for pixels, _ in batches] == [32, 32, 32, 4]
    assert all(pixels.flags.c_contiguous and pixels.shape[1:] == (6, 6, 3) for pixels, _ in batches)
    assert [x for _, places in batches for x, _ in places] == list(range(100))
    # With its margin, a tile begins a pixel further left.
    assert [int(each[0, 0, 0]) for pixels, _ in batches for each in pixels] == [(x - 1) % 256 for x in range(100)]


def test_the_next_batch_is_read_while_the_caller_works_and_no_further() -> None:
    source = Counting()
    batches = TileReading(source, row_of(1000), size=4, scale=1, readers=3).batches(20)
    for number, _ in enumerate(batches, 1):
        assert len(source.begun) <= 20 * (number + 1)
    assert len(source.begun) == 1000


def test_what_a_reader_raises_ends_the_batches() -> None:
    batches = TileReading(Counting(fails_at=25), row_of(100), size=4, scale=1, readers=2).batches(20)
    next(batches)
    with pytest.raises(SlideUnreadable, match="broken here"):
        next(batches)
    assert reading_threads() == set()


# --- tiles of a slide


@pytest.fixture
def slide(sample_slides: Path) -> Iterator[Slide]:
    with Slide(sample_slides / "immuno.tiff", ImageInfo(id="immuno")) as slide:
        yield slide


def test_the_tiles_together_are_the_slide(slide: Slide) -> None:
    whole = slide.read(0, 0, 6144, 4608, mpp=1)
    assert whole.shape == (1152, 1536, 3)
    for tile in slide.tiles(mpp=1, size=250):
        row, column = round(tile.y / tile.scale), round(tile.x / tile.scale)
        part = whole[row : row + 250, column : column + 250]
        assert np.array_equal(tile.pixels[: part.shape[0], : part.shape[1]], part)
        assert (tile.pixels[part.shape[0] :] == 255).all()


@pytest.mark.parametrize("mpp", [0.25, 0.5, 0.73])
def test_a_margin_shows_what_the_neighbours_show(slide: Slide, mpp: float) -> None:
    bare = {(tile.x, tile.y): tile for tile in slide.tiles(mpp=mpp, size=1000)}
    for tile in slide.tiles(mpp=mpp, size=1000, margin=16):
        assert tile.pixels.shape == (1032, 1032, 3)
        own = bare[tile.x, tile.y].pixels.astype(int)
        # At 0.73 µm the pixels are interpolated from another place.
        assert np.abs(tile.pixels[16:-16, 16:-16] - own).mean() < (12 if mpp == 0.73 else 0.01)


@pytest.mark.parametrize("mpp", [0.25, 0.73, 2])
def test_batches_of_a_slide_are_its_tiles(slide: Slide, mpp: float) -> None:
    tiles = slide.tiles(mpp=mpp, size=300, margin=8)
    for pixels, places in slide.tiles(mpp=mpp, size=300, margin=8, batch=7):
        for own, (x, y), tile in zip(pixels, places, tiles, strict=False):
            assert (tile.x, tile.y) == (x, y)
            assert np.array_equal(own, tile.pixels)
    assert next(tiles, None) is None


def test_a_batch_goes_on_without_a_copy(slide: Slide) -> None:
    pixels, _ = next(iter(slide.tiles(mpp=2, size=64, batch=4)))
    assert np.shares_memory(np.from_dlpack(pixels), pixels)
    with pytest.raises(ValueError, match="there are no tiles"):
        slide.tiles(mpp=2, size=64, batch=0)


def test_a_tile_tells_where_its_pixels_lie() -> None:
    tile = Tile(1000, 2000, 4.0, 8, np.zeros((48, 48, 3), np.uint8))
    assert tile.to_pixel(8, 8) == PixelPoint(1000, 2000)
    assert tile.to_pixel(0, 40) == PixelPoint(968, 2128)


@unhurried
@given(st.lists(st.tuples(st.integers(0, 520), st.integers(0, 520)), min_size=3, max_size=8), st.integers(0, 5))
def test_a_tiles_pixels_inside_a_polygon_are_those_whose_middle_is(
    quarters: list[tuple[int, int]], margin: int
) -> None:
    outer = shapely.convex_hull(shapely.MultiPoint(np.array(quarters) / 4))
    if not isinstance(outer, Polygon) or outer.area < 1:
        return
    hole = affinity.scale(outer, 0.4, 0.4)
    polygon = Polygon(outer.exterior, [hole.exterior])
    tile = Tile(10, 20, 2.0, margin, np.zeros((30 + 2 * margin, 30 + 2 * margin, 3), np.uint8))
    rows, columns = np.indices(tile.pixels.shape[:2]) + 0.5
    x, y = 10 + (columns - margin) * 2, 20 + (rows - margin) * 2
    true = shapely.contains_xy(polygon, x, y)
    sure = shapely.distance(polygon.boundary, shapely.points(x, y)) > 1e-6
    assert np.array_equal(tile.inside(polygon)[sure], true[sure])


def test_only_tiles_that_touch_a_region_are_read(slide: Slide) -> None:
    region = Region(Polygon([(1000, 500), (2000, 500), (2000, 1500)]))
    places = {(tile.x, tile.y) for tile in slide.tiles(mpp=1, size=100, region=region)}
    # Of the rectangle round it all but the lower left corner.
    grid = {(x, y) for x in (1000, 1400, 1800) for y in (500, 900, 1300)}
    assert places == grid - {(1000, 1300)}
    assert slide.receipt.tiles_read == 8


def test_tiles_of_several_regions_lie_on_one_grid(slide: Slide) -> None:
    regions = [Region(shapely.box(1000, 500, 1300, 800)), Region(shapely.box(2100, 950, 2300, 1000))]
    assert [(tile.x, tile.y) for tile in slide.tiles(mpp=1, size=100, region=regions)] == [
        (1000, 500),
        (1800, 900),
        (2200, 900),
    ]
    with pytest.raises(ValueError, match="no region"):
        slide.tiles(mpp=1, size=100, region=[])


def test_the_receipt_says_how_many_tiles_were_not_read_and_why(slide: Slide) -> None:
    where = np.zeros((9, 12), np.bool_)
    where[:, :6] = True
    assert len(list(slide.tiles(mpp=0.25, size=512, where=where))) == 54
    list(slide.tiles(mpp=0.25, size=512, where=~where, least=1.0, unread="of no interest"))
    size = slide.pixel_size
    rows = slide.receipt.rows(pixel_size=size, unknown="", area_px=1, fingerprint="f", version="1", seconds=1)
    assert rows["Tiles read"] == 108
    assert rows["Tiles skipped"] == "54 not marked, 54 of no interest"


def test_a_slide_of_unknown_pixel_size_has_no_tiles(sample_slides: Path) -> None:
    info = ImageInfo(id="immuno", microns_per_pixel=0.5)
    with (
        Slide(sample_slides / "immuno.tiff", info) as slide,
        pytest.raises(PixelSizeUnknown, match=r"DPAT states 0\.5"),
    ):
        slide.tiles(mpp=1, size=256)


@pytest.mark.parametrize(("mpp", "size", "margin"), [(0, 256, 0), (-1, 256, 0), (1, 0, 0), (1, 256, -1)])
def test_tiles_that_can_not_be_are_refused(slide: Slide, mpp: float, size: int, margin: int) -> None:
    with pytest.raises(ValueError, match="there are no tiles"):
        slide.tiles(mpp=mpp, size=size, margin=margin)


@pytest.mark.parametrize(("width", "height", "mpp"), [(0, 10, 1), (10, -1, 1), (10, 10, 0)])
def test_a_part_without_an_area_is_refused(slide: Slide, width: float, height: float, mpp: float) -> None:
    with pytest.raises(ValueError, match="there is nothing"):
        slide.read(0, 0, width, height, mpp=mpp)
