from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from openslide import OpenSlide

from slidehook import PixelPoint, Result, Slide
from slidehook.cli.main import main
from slidehook.folder.local_slide import local_bounds, local_slide
from slidehook.models import ImageInfo
from slidehook.pixels.bounds import NAMES, Bounds, geojson_frame, qupath_origin, stated_bounds
from slidehook.results.geojson import geojson_of, read_outlines
from tests.pixels.pyramids import write_scn

AT = (1000, 1500)
"""The corner of what was scanned, in pixels of the whole slide."""
DARK = (700, 500, 1500, 900)
"""Left, top, right and bottom of what is dark, in QuPath's frame."""
APP = """
import numpy as np
from shapely import box
from slidehook import App, MultiArea, PixelPoint, Result

class Whole(App):
    id = name = "whole"
    needs = {needs}

    def analyze(self, slide, progress):
        dark = slide.read(0, 0, slide.frame.width, slide.frame.height, mpp=0.5).mean(axis=2) < 128
        rows, columns = np.nonzero(dark)
        left, top, right, bottom = columns.min() * 2, rows.min() * 2, (columns.max() + 1) * 2, (rows.max() + 1) * 2
        return Result("found").outline(box(left, top, right, bottom)).label(PixelPoint(left, top), "here")

class Drawn(App):
    id = name = "drawn"
    input = MultiArea()
    needs = {needs}

    def analyze(self, slide, progress):
        (region,) = slide.regions
        left, top, right, bottom = region.bounds
        pixels = slide.read(left, top, right - left, bottom - top, mpp=0.25)
        return Result(f"mean {{pixels.mean():.0f}} at {{left:.0f}}, {{top:.0f}}")
"""


@pytest.fixture
def slide(tmp_path: Path) -> Path:
    scanned = np.full((2400, 3000, 3), 230, np.uint8)
    left, top, right, bottom = DARK
    scanned[top:bottom, left:right] = 60
    return write_scn(tmp_path / "leica.scn", scanned, at=AT, whole=(6000, 5000))


def run(folder: Path, slide: Path, app: str, *options: str, needs: str = "('files',)") -> dict[str, Any]:
    (folder / "mine.py").write_text(APP.format(needs=needs))
    done = CliRunner().invoke(
        main, ["run", f"{folder / 'mine.py'}:{app}", str(slide), "--out", str(folder / "out"), *options]
    )
    assert done.exit_code == 0, done.output
    content: dict[str, Any] = json.loads((folder / "out/result.json").read_text())
    return content


def test_a_file_states_what_was_scanned(slide: Path) -> None:
    assert local_bounds(slide) == Bounds(*AT, 3000, 2400)
    with local_slide(slide, needs={"tiles"}) as opened:
        assert (opened.path, opened.bounds) == (None, Bounds(*AT, 3000, 2400))
    assert Slide(None, ImageInfo(id="S-1")).bounds is None


@pytest.mark.parametrize("needs", ["('files',)", "('tiles',)"])
def test_geojson_is_in_qupaths_frame_and_the_result_in_dpats(slide: Path, tmp_path: Path, needs: str) -> None:
    record = run(tmp_path, slide, "Whole", needs=needs)
    shape, label = json.loads((tmp_path / "out/result.geojson").read_text())["features"]
    left, top, right, bottom = DARK
    corners = {tuple(each) for each in shape["geometry"]["coordinates"][0]}
    assert corners == {(left, top), (right, top), (right, bottom), (left, bottom)}
    assert label["geometry"]["coordinates"] == [left, top]
    (polygon,) = record["data"]["result"]["content"][0]["polygons"]
    assert min(each["x"] for each in polygon["points"]) * 6000 == pytest.approx(AT[0] + left)
    assert min(each["y"] for each in polygon["points"]) * 6000 == pytest.approx(AT[1] + top)
    said = record["displayProperties"]["GeoJSON counts from"]
    assert said == "QuPath's: the file's bounds, 3000 x 2400 px from (1000, 1500)"


def test_a_region_that_was_drawn_in_qupath_lies_where_it_was_drawn(slide: Path, tmp_path: Path) -> None:
    left, top, right, bottom = DARK
    ring = [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]
    region = tmp_path / "region.geojson"
    region.write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    record = run(tmp_path, slide, "Drawn", "--region", str(region))
    assert record["displayResult"] == f"mean 60 at {AT[0] + left}, {AT[1] + top}"


def test_what_is_written_is_read_back_where_it_was(tmp_path: Path) -> None:
    origin = PixelPoint(*AT)
    corners = [PixelPoint(1200, 1600), PixelPoint(1300, 1600), PixelPoint(1300, 1750)]
    path = tmp_path / "result.geojson"
    path.write_bytes(geojson_of(Result("x").polygon(corners), "app", origin=origin))
    assert [list(each.points) for each in read_outlines(path, origin=origin)] == [corners]
    assert read_outlines(path)[0].points[0] == PixelPoint(200, 100)


class Stating(OpenSlide):
    """States bounds that no real file of ours has."""

    stated: Mapping[str, str] = {}

    @property
    def properties(self) -> Mapping[str, str]:
        return self.stated


@pytest.mark.parametrize(
    "values",
    [
        ("-1", "0", "10", "10"),
        ("0", "0", "6001", "10"),
        ("5990", "0", "11", "10"),
        ("0", "0", "0", "10"),
        ("0", "0", "10", "-10"),
        ("0", "0", "10", "1e9"),
        ("0", "0", "ten", "10"),
        ("0", "0", "10"),
    ],
)
def test_bounds_that_do_not_lie_within_the_slide_are_not_believed(slide: Path, values: tuple[str, ...]) -> None:
    with Stating(slide) as opened:
        opened.stated = dict(zip(NAMES, values, strict=False))
        assert stated_bounds(opened) is None
        assert geojson_frame(opened) == "whole slide (the file's bounds do not lie within it)"
        opened.stated = {}
        assert geojson_frame(opened) == ""
    assert qupath_origin(None) == PixelPoint(0, 0)
