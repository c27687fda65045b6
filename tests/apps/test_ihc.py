from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree
from skimage import data
from skimage.color import rgb2hsv

from slidehook import Slide
from slidehook.apps.ihc import Ihc
from slidehook.pixels.source import Pixels
from slidehook.running.run_app import run_app
from slidehook.simulator.options import Options
from slidehook.simulator.server import Simulator
from tests.apps.ihc_runs import LEFT, RIGHT, SIDE_UM, analysed, areas, number, percent, tagged
from tests.apps.slides import glass
from tests.apps.stained import MPP, Nucleus, compose, scatter
from tests.origins import dpat_origin

# --- counting


@pytest.mark.parametrize("compartment", ["nucleus", "cell"])
@pytest.mark.parametrize(
    ("nuclei", "stains"),
    [
        ({"count": 250}, {}),
        ({"count": 250}, {"haematoxylin": 0.2, "dab": 1.0}),
        ({"count": 250}, {"haematoxylin": 0.55}),
        ({"count": 250, "positive": 0.05}, {}),
        ({"count": 400, "touching": 0.7}, {}),
        ({"count": 100, "half_axes_um": (5.0, 8.0)}, {}),
        ({"count": 150, "half_axes_um": (2.5, 7.0)}, {"noise": 8.0}),
        ({"count": 250}, {"glass": (205.0, 200.0, 208.0)}),
    ],
    ids=["usual", "pale", "dark", "few positive", "crowded", "large", "mixed and noisy", "dim light"],
)
def test_nuclei_of_known_number_place_and_stain_are_counted(
    on_slide: Callable[..., Path], compartment: str, nuclei: dict[str, Any], stains: dict[str, Any]
) -> None:
    true = scatter(**nuclei, side_um=SIDE_UM, seed=7)
    pixels = compose(true, side_um=SIDE_UM, seed=7, membranes=compartment == "cell", **stains)
    result = analysed(on_slide(pixels), compartment=compartment)
    assert number(result, "Nuclei") == pytest.approx(len(true), rel=0.05)
    assert number(result, "Positive (%)") == pytest.approx(percent(true), abs=3)
    assert number(result, "Nuclei per mm²") == pytest.approx(len(true) / (SIDE_UM / 1000) ** 2, rel=0.05)
    assert result.gallery is not None
    places = cKDTree([(each.x / MPP, each.y / MPP) for each in true])
    distance, which = places.query([(each.at.x, each.at.y) for each in result.gallery.patches])
    right = [
        far < 2.5 / MPP and patch.tag == ("positive" if true[at].positive else "negative")
        for far, at, patch in zip(distance, which, result.gallery.patches, strict=True)
    ]
    assert np.mean(right) > 0.93


def test_pixels_of_other_sizes_and_strong_compression_change_little(
    on_slide: Callable[..., Path], picture: Pixels, nuclei: list[Nucleus]
) -> None:
    half = picture.reshape(len(picture) // 2, 2, -1, 2, 3).mean(axis=(1, 3)).round().astype(np.uint8)
    for pixels, mpp, quality in ((half, 2 * MPP, 90), (picture, MPP, 50)):
        result = analysed(on_slide(pixels, mpp=mpp, quality=quality))
        assert number(result, "Nuclei") == pytest.approx(len(nuclei), rel=0.05)
        assert number(result, "Positive (%)") == pytest.approx(percent(nuclei), abs=3)


def test_the_dab_area_of_real_tissue_is_that_of_an_independent_method(on_slide: Callable[..., Path]) -> None:
    # A pixel is brown when its hue lies between 30° beyond red and yellow (HSV), and it has more colour than glass
    # and connective tissue have: a saturation of 0.125. No stain, no density and no deconvolution is in that.
    pixels = data.immunohistochemistry()
    hue, saturation, _ = np.moveaxis(rgb2hsv(pixels), 2, 0)
    brown = ((hue < 60 / 360) | (hue > 330 / 360)) & (saturation > 0.125)
    result = analysed(on_slide(pixels, mpp=0.5, quality=100), compartment="cell")
    assert number(result, "DAB area (%)") == pytest.approx(100 * brown.mean(), abs=3)
    assert 200 < number(result, "Nuclei") < 500, "by eye there are about 300"


def test_the_dab_area_of_a_composed_picture_is_known(on_slide: Callable[..., Path], nuclei: list[Nucleus]) -> None:
    area = sum(np.pi * each.a * each.b for each in nuclei if each.positive)
    pixels = compose(nuclei, side_um=SIDE_UM, seed=2)
    result = analysed(on_slide(pixels))
    assert number(result, "DAB area (%)") == pytest.approx(100 * area / SIDE_UM**2, abs=1)


# --- tiles


@settings(max_examples=6, deadline=None)
@given(tile_px=st.integers(70, 400), left=st.floats(0, 0.2), top=st.floats(0, 0.2))
def test_each_nucleus_counts_once_however_the_tiles_lie(section: Path, tile_px: int, left: float, top: float) -> None:
    region = areas([(left, top), (0.9, top), (0.9, 0.9), (left, 0.9)])
    whole = analysed(section, region)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("slidehook.apps.ihc.TILE_PX", tile_px)
        parted = analysed(section, region)
    assert number(parted, "Tiles read") > number(whole, "Tiles read") == 1
    assert number(parted, "Nuclei") == pytest.approx(number(whole, "Nuclei"), abs=1)
    assert number(parted, "Positive") == pytest.approx(number(whole, "Positive"), abs=1)
    by = 0.15  # each is rounded to 0.1
    assert number(parted, "DAB area (%)") == pytest.approx(number(whole, "DAB area (%)"), abs=by)


def test_nuclei_on_the_borders_of_tiles_count_once(
    on_slide: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    # 64 pixels at 0.5 µm are 32 µm: each nucleus lies on a border of two tiles, or on a corner of four.
    true = [Nucleus(32.0 * x, 32.0 * y, 4.5, 4.0, 0.3, (x + y) % 2 == 0) for x in range(1, 9) for y in range(1, 9)]
    monkeypatch.setattr("slidehook.apps.ihc.TILE_PX", 64)
    result = analysed(on_slide(compose(true, side_um=SIDE_UM, seed=3)))
    assert (result.properties["Nuclei"], result.properties["Positive"]) == (64, 32)
    assert number(result, "Tiles read") == 100


def test_haematoxylin_alone_is_all_negative(on_slide: Callable[..., Path]) -> None:
    true = scatter(80, side_um=200, seed=5, positive=0)
    result = analysed(on_slide(compose(true, side_um=200, seed=5)))
    assert result.text == f"0.0 % of {result.properties['Nuclei']} nuclei positive"


# --- regions


def test_a_tagged_polygon_is_a_region_too(section: Path) -> None:
    assert analysed(section, tagged(LEFT)).text == analysed(section, areas(LEFT)).text


def test_only_nuclei_whose_middle_lies_in_the_region_count(section: Path, nuclei: list[Nucleus]) -> None:
    triangle = [(0.1, 0.1), (0.9, 0.2), (0.4, 0.9)]
    corners = np.array(triangle) * SIDE_UM
    turns = [
        (b[0] - a[0]) * (np.array([each.y for each in nuclei]) - a[1])
        - (b[1] - a[1]) * (np.array([each.x for each in nuclei]) - a[0])
        for a, b in zip(corners, np.roll(corners, -1, axis=0), strict=True)
    ]
    inside = int(np.all(np.array(turns) > 0, axis=0).sum())
    assert number(analysed(section, areas(triangle)), "Nuclei") == pytest.approx(inside, abs=3)


def test_where_regions_overlap_a_nucleus_counts_in_each_but_once_in_the_total(section: Path) -> None:
    left, right = analysed(section, areas(LEFT)), analysed(section, areas(RIGHT))
    both, whole = analysed(section, areas(LEFT, RIGHT)), analysed(section)
    for name in ("Nuclei", "Positive", "Negative", "DAB area (%)", "Positive (%)", "Nuclei per mm²"):
        assert number(both, name) == pytest.approx(number(whole, name), rel=0.02)
        assert number(both, f"Region 1: {name}") == pytest.approx(number(left, name), rel=0.02)
        assert number(both, f"Region 2: {name}") == pytest.approx(number(right, name), rel=0.02)
    assert number(both, "Region 1: Nuclei") + number(both, "Region 2: Nuclei") > number(both, "Nuclei")
    assert number(both, "Analysed area (mm²)") == pytest.approx(0.09)
    assert len(both.shapes) == 2


def test_many_regions_have_rows_up_to_twenty_and_count_all_the_same(section: Path) -> None:
    stripes = [[(0, y), (1, y), (1, y + 0.04), (0, y + 0.04)] for y in np.arange(25) / 25]
    result, whole = analysed(section, areas(*stripes)), analysed(section)
    assert number(result, "Regions") == 25
    assert "Region 20: Nuclei" in result.properties
    assert "Region 21: Nuclei" not in result.properties
    assert result.properties["Nuclei"] == whole.properties["Nuclei"]


def test_far_regions_are_read_without_what_lies_between(on_slide: Callable[..., Path]) -> None:
    path = on_slide(glass(2000, 12000))
    corner = [(0, 0), (0.02, 0), (0.02, 0.02), (0, 0.02)]
    far = [(0.98, 0.14), (1, 0.14), (1, 0.16), (0.98, 0.16)]
    result = analysed(path, areas(corner, far))
    assert number(result, "Tiles read") == 2
    assert result.text == "no nuclei found"


# --- over the network


def test_over_the_network_the_same_is_counted_without_the_file(section: Path, tmp_path: Path) -> None:
    folder = tmp_path / "slides"
    folder.mkdir()
    (folder / "section.tiff").symlink_to(section)
    with Simulator(folder, Options(strict=True)) as sim:
        origin = dpat_origin(sim.callback_url, sim.token(), "section")
        with Slide(None, origin.info(), origin=origin, drawn=areas(LEFT)) as slide:
            sim.call_log.clear()
            found = run_app(Ihc(), slide, lambda *_: None)
            calls = len(sim.call_log.all())
    own = analysed(section, areas(LEFT))
    assert number(found, "Nuclei") == pytest.approx(number(own, "Nuclei"), rel=0.02)
    assert number(found, "Positive (%)") == pytest.approx(number(own, "Positive (%)"), abs=1)
    assert found.properties["Pixel size from"] == "DPAT"
    assert calls < 30
