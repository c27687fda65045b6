from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from openslide import OpenSlide
from pydantic import ValidationError
from scipy import ndimage
from scipy.spatial import cKDTree
from skimage import data
from skimage.color import rgb2hsv

from apps.ihc import Ihc
from apps.ihc.counting import Looker, Lot, look_at_all
from apps.ihc.params import IhcParams
from simulator.server import Simulator
from slidehook import AppError, Frame, Result, Slide
from slidehook.access import DpatAccess
from slidehook.errors import PixelSizeUnknown
from slidehook.hosting.running import run_app
from slidehook.iaapi.client import DpatServers
from slidehook.iaapi.models import ImageInfo, Input, MultiAreaInput, Size, StoredResult, TaggedPolygonInput
from slidehook.jobs.job import Job, new_job_id
from slidehook.pixels.source import FilePixels, Pixels
from slidehook.pixels.tiles import Tile
from slidehook.publishing.onslide import RecordMaker
from slidehook.regions import Region
from slidehook.settings import Settings
from tests.apps.slides import glass, write_slide
from tests.apps.stained import DAB, EOSIN, MPP, Nucleus, absorbed, compose, scatter
from webserver.modifying import answered

SIDE_UM = 300.0
Corner = tuple[float, float]
"""As parts of the slide's width."""
WHOLE: list[Corner] = [(0, 0), (1, 0), (1, 1), (0, 1)]
LEFT: list[Corner] = [(0, 0), (0.6, 0), (0.6, 1), (0, 1)]
RIGHT: list[Corner] = [(0.4, 0), (1, 0), (1, 1), (0.4, 1)]
INFO = ImageInfo(id="S-1")


def areas(*polygons: Sequence[Corner]) -> Input:
    drawn = [{"points": [{"x": x, "y": y} for x, y in each]} for each in polygons]
    return MultiAreaInput.model_validate({"type": "multiArea", "content": {"polygons": drawn}})


def tagged(polygon: Sequence[Corner]) -> Input:
    drawn = {"points": [{"x": x, "y": y} for x, y in polygon]}
    return TaggedPolygonInput.model_validate({"type": "taggedPolygon", "content": {"polygon": drawn, "tags": ["a"]}})


def analysed(path: Path, drawn: Input | None = None, *, info: ImageInfo = INFO, **params: Any) -> Result:
    app = Ihc()
    app.params = IhcParams(**params)
    with Slide(path, info, drawn=drawn or areas(WHOLE)) as slide:
        return run_app(app, slide, lambda *_: None)


def percent(nuclei: Sequence[Nucleus]) -> float:
    return 100 * sum(each.positive for each in nuclei) / len(nuclei)


def number(result: Result, name: str) -> float:
    value = result.properties[name]
    assert isinstance(value, int | float), value
    return value


@pytest.fixture(scope="module")
def nuclei() -> list[Nucleus]:
    return scatter(250, side_um=SIDE_UM, seed=1)


@pytest.fixture(scope="module")
def picture(nuclei: list[Nucleus]) -> Pixels:
    return compose(nuclei, side_um=SIDE_UM, seed=1)


@pytest.fixture(scope="module")
def section(picture: Pixels, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_slide(tmp_path_factory.mktemp("ihc") / "section.tiff", picture, mpp=MPP, quality=90)


@pytest.fixture
def on_slide(tmp_path: Path) -> Callable[..., Path]:
    """Writes a picture as a slide."""

    def write(pixels: Pixels, *, mpp: float = MPP, quality: int = 90) -> Path:
        return write_slide(tmp_path / "slide.tiff", pixels, mpp=mpp, quality=quality)

    return write


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
        patch.setattr("apps.ihc.TILE_PX", tile_px)
        parted = analysed(section, region)
    assert number(parted, "Tiles read") > number(whole, "Tiles read") == 1
    assert number(parted, "Nuclei") == pytest.approx(number(whole, "Nuclei"), abs=2)
    assert number(parted, "Positive") == pytest.approx(number(whole, "Positive"), abs=1)
    by = 0.15  # each is rounded to 0.1
    assert number(parted, "DAB area (%)") == pytest.approx(number(whole, "DAB area (%)"), abs=by)


def test_nuclei_on_the_borders_of_tiles_count_once(
    on_slide: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    # 64 pixels at 0.5 µm are 32 µm: each nucleus lies on a border of two tiles, or on a corner of four.
    true = [Nucleus(32.0 * x, 32.0 * y, 4.5, 4.0, 0.3, (x + y) % 2 == 0) for x in range(1, 9) for y in range(1, 9)]
    monkeypatch.setattr("apps.ihc.TILE_PX", 64)
    result = analysed(on_slide(compose(true, side_um=SIDE_UM, seed=3)))
    assert (result.properties["Nuclei"], result.properties["Positive"]) == (64, 32)
    assert number(result, "Tiles read") == 100


def test_no_more_tiles_are_held_than_there_are_cores() -> None:
    pulled = 0

    def tiles() -> Iterator[Tile]:
        nonlocal pulled
        for column in range(40):
            pulled += 1
            yield Tile(64.0 * column, 0, 1, 0, glass(64, 64))

    look = Looker([Region(shapely.box(0, 0, 3000, 64))], IhcParams(), (243, 243, 243))
    cores = len(os.sched_getaffinity(0))
    for number_of_them, found in enumerate(look_at_all(look, tiles()), 1):
        assert pulled - number_of_them < cores
        assert found.sums[0].pixels == 64 * 64
    assert pulled == 40


def test_the_kept_patches_do_not_grow_with_the_nuclei_and_each_has_its_chance() -> None:
    rows = np.arange(3000.0).reshape(1000, 3)
    hits = np.zeros(1000)
    lot = Lot(100)
    for part in np.array_split(rows, 7):
        lot.add(part)
        assert len(lot.rows) <= 100
    assert len(np.unique(lot.rows[:, 0])) == 100
    np.add.at(hits, (lot.rows[:, 0] / 3).astype(int), 1)
    assert all(5 < part.sum() < 40 for part in np.array_split(hits, 5))


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


# --- no number where there is none


def test_without_nuclei_there_is_no_percentage(on_slide: Callable[..., Path]) -> None:
    result = analysed(on_slide(glass(600, 600)))
    assert result.text == "no nuclei found"
    assert result.properties["Nuclei"] == 0
    assert not any("Positive (%)" in name for name in result.properties)
    assert result.gallery is None
    assert len(result.shapes) == 1
    assert Ihc().on_modify(result) == result


def test_a_region_without_nuclei_beside_one_with_some_has_no_percentage(section: Path, nuclei: list[Nucleus]) -> None:
    edge = [(0.1, 0), (0.9, 0), (0.9, 0.02), (0.1, 0.02)]  # scattered nuclei keep off the slide's edge
    result = analysed(section, areas(WHOLE, edge))
    assert result.properties["Region 2: Nuclei"] == 0
    assert "Region 2: Positive (%)" not in result.properties
    assert number(result, "Nuclei") == pytest.approx(len(nuclei), rel=0.05)


def blurred(pixels: Pixels, sigma_um: float) -> Pixels:
    sigma = sigma_um / MPP
    soft: Pixels = np.rint(ndimage.gaussian_filter(pixels.astype(float), (sigma, sigma, 0))).astype(np.uint8)
    return soft


def clouds(strength: float, stain: Any) -> Pixels:
    waves = ndimage.gaussian_filter(np.random.default_rng(1).random((800, 800)), 4)
    return absorbed(strength * (waves - waves.min())[..., None] / np.ptp(waves) * stain, noise=3)


@pytest.mark.parametrize("sigma_um", [1.0, 2.0, 4.0, 6.0])
@pytest.mark.parametrize("compartment", ["nucleus", "cell"])
def test_a_blurred_picture_is_not_counted(
    on_slide: Callable[..., Path], nuclei: list[Nucleus], sigma_um: float, compartment: str
) -> None:
    pixels = compose(nuclei, side_um=SIDE_UM, seed=1, membranes=compartment == "cell")
    path = on_slide(blurred(pixels, sigma_um))
    assert_not_counted(analysed(path, compartment=compartment), "the region is blurred")


def test_a_blurred_region_among_others_is_named(on_slide: Callable[..., Path], picture: Pixels) -> None:
    pixels = picture.copy()
    pixels[:, 600:] = blurred(picture, 3.0)[:, 600:]
    left, right = [(0, 0), (0.4, 0), (0.4, 1), (0, 1)], [(0.6, 0), (1, 0), (1, 1), (0.6, 1)]
    assert_not_counted(analysed(on_slide(pixels), areas(left, right)), "region 2 is blurred")


def test_a_picture_without_haematoxylin_is_not_counted(on_slide: Callable[..., Path]) -> None:
    assert_not_counted(analysed(on_slide(clouds(0.8, DAB))), "the region is without haematoxylin")


def test_another_stain_is_not_counted(on_slide: Callable[..., Path], nuclei: list[Nucleus]) -> None:
    blue = compose([replace(each, positive=False) for each in nuclei], side_um=SIDE_UM, seed=1)
    pixels = absorbed(-np.log10(blue / 255.0) + 0.3 * EOSIN, noise=2)
    assert_not_counted(analysed(on_slide(pixels)), "not in the colours of haematoxylin and DAB")


def test_a_region_that_is_too_small_or_dark_is_not_counted(on_slide: Callable[..., Path], picture: Pixels) -> None:
    pixels = picture.copy()
    pixels[:600] //= 16
    path = on_slide(pixels)
    upper, lower = [(0, 0), (1, 0), (1, 0.5), (0, 0.5)], [(0, 0.55), (1, 0.55), (1, 1), (0, 1)]
    assert_not_counted(analysed(path, areas(upper)), "the region is too dark")
    assert_not_counted(analysed(path, areas(lower, upper)), "region 2 is too dark")
    assert analysed(path, areas(lower)).gallery is not None
    assert_not_counted(analysed(path, areas([(0.5, 0.8), (0.52, 0.8), (0.52, 0.82)])), "the region is too small")


def assert_not_counted(result: Result, why: str) -> None:
    assert why in result.text
    assert f"not counted: {result.properties['Not counted']}" == result.text
    assert not {"Nuclei", "Positive (%)", "DAB area (%)"} & result.properties.keys()
    assert result.gallery is None


def test_a_slide_that_is_too_dark_or_too_coarse_or_has_no_region_fails(
    on_slide: Callable[..., Path], picture: Pixels, section: Path
) -> None:
    with pytest.raises(AppError, match="too dark"):
        analysed(on_slide(picture // 3))
    with pytest.raises(AppError, match="too coarse"):
        analysed(on_slide(picture, mpp=1.0))
    with Slide(section, INFO) as slide, pytest.raises(AppError, match="no region"):
        Ihc().analyze(slide, lambda *_: None)


class Sizeless(FilePixels):
    stated_mpp = None


def test_without_a_pixel_size_nothing_is_counted(section: Path) -> None:
    with OpenSlide(section) as opened:
        slide = Slide(section, INFO, drawn=areas(WHOLE), pixels=Sizeless(opened))
        with slide, pytest.raises(PixelSizeUnknown, match="neither the slide's file nor DPAT"):
            run_app(Ihc(), slide, lambda *_: None)


def test_without_a_sure_pixel_size_nothing_is_counted(on_slide: Callable[..., Path], picture: Pixels) -> None:
    with pytest.raises(PixelSizeUnknown, match="1000 µm per pixel"):
        analysed(on_slide(picture, mpp=1000.0))
    with pytest.raises(PixelSizeUnknown, match=r"DPAT says 0\.5"):
        analysed(on_slide(picture), info=ImageInfo(id="S-1", microns_per_pixel=0.5))


# --- what the site sets


def test_thresholds_are_the_sites(section: Path) -> None:
    usual = analysed(section)
    strict = analysed(section, positive_from=1.5, dab_area_from=1.5, smallest_um2=60)
    assert strict.text.startswith("0.0 % of")
    assert number(strict, "Nuclei") < number(usual, "Nuclei")
    assert number(strict, "DAB area (%)") < 0.1


@pytest.mark.parametrize(
    "wrong",
    [{"compartment": "membrane"}, {"smallest_um2": 500}, {"dab": (0.65, 0.70, 0.29)}, {"positive_from": 0}, {"x": 1}],
)
def test_wrong_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        IhcParams(**wrong)


def test_the_page_shows_every_setting_with_its_default() -> None:
    page = Path(__file__).parents[2] / "docs" / "ihc.md"
    found = re.search(r"^```toml\n(.*?)^```", page.read_text(), re.M | re.S)
    assert found
    table = tomllib.loads(found[1])
    assert IhcParams(**table) == IhcParams()
    assert table.keys() == IhcParams.model_fields.keys()


def test_a_site_can_offer_it_twice_with_other_settings(on_slide: Callable[..., Path]) -> None:
    class Membranes(Ihc):
        id = "membranes"
        name = "Positive membranes"
        params = IhcParams(compartment="cell")

    true = scatter(80, side_um=200, seed=5)
    path = on_slide(compose(true, side_um=200, seed=5, membranes=True))
    with Slide(path, INFO, drawn=areas(WHOLE)) as slide:
        result = run_app(Membranes(), slide, lambda *_: None)
    assert Membranes.route == "/apps/membranes"
    assert number(result, "Positive (%)") == pytest.approx(percent(true), abs=3)


def test_imported_images_are_not_asked_for() -> None:
    assert not Ihc().accepts(INFO)


# --- over the network


def test_over_the_network_the_same_is_counted_without_the_file(section: Path, tmp_path: Path) -> None:
    folder = tmp_path / "slides"
    folder.mkdir()
    (folder / "section.tiff").symlink_to(section)
    with Simulator(folder) as sim:
        access = DpatAccess(DpatServers(Settings(_env_file=None)), sim.callback_url, sim.token())
        with Slide(None, access.client.slide_info("section"), access=access, drawn=areas(LEFT)) as slide:
            sim.call_log.clear()
            found = run_app(Ihc(), slide, lambda *_: None)
            calls = len(sim.call_log.all())
    own = analysed(section, areas(LEFT))
    assert number(found, "Nuclei") == pytest.approx(number(own, "Nuclei"), rel=0.02)
    assert number(found, "Positive (%)") == pytest.approx(number(own, "Positive (%)"), abs=1)
    assert found.properties["Pixel size from"] == "DPAT"
    assert calls < 30


# --- the user's corrections


class Gallery:
    """A result on the slide, as the user sees and changes it: through what DPAT is sent, and sends back."""

    def __init__(self, result: Result) -> None:
        side = round(SIDE_UM / MPP)
        self.info = ImageInfo(id="S-1", image_size=Size(width=side, height=side))
        job = Job(
            id=new_job_id(1), app_id="ihc", slide_id="S-1", created_at=0, origin="user", input=areas(WHOLE),
            context=None, callback_url="http://127.0.0.1:1/v1", callback_token="t",
        )  # fmt: skip
        record = RecordMaker(Ihc(), job, None).done(result, Frame(side, side))
        self.wire: dict[str, Any] = {**record.to_wire(), "id": 1, "versionId": "1"}

    @property
    def content(self) -> dict[str, Any]:
        found: dict[str, Any] = self.wire["data"]["result"]["content"]
        return found

    def move(self, tag: int, to: int, count: int) -> None:
        """Move the first `count` patches with one tag to another."""
        for patch in [each for each in self.content["patches"] if each["tag"] == tag][:count]:
            patch["tag"] = to

    def press(self) -> tuple[str, dict[str, Any]]:
        """Press the button; gives the text and the table that stand on the slide then."""
        (button,) = self.content["actions"]
        button["state"] = 1
        stored, quality = answered(Ihc(), StoredResult.model_validate(self.wire), lambda: self.info)
        self.wire = stored.to_wire()
        assert quality is None
        assert self.content["actions"][0]["state"] == 0
        return self.wire["displayResult"], self.wire["displayProperties"]


@pytest.fixture(scope="module")
def counted(section: Path) -> Result:
    return analysed(section)


@pytest.fixture
def gallery(counted: Result) -> Gallery:
    return Gallery(counted)


def test_the_gallery_shows_each_nucleus_with_its_density_and_a_button(gallery: Gallery, counted: Result) -> None:
    assert gallery.content["tags"] == ["positive", "negative"]
    assert [each["name"] for each in gallery.content["actions"]] == ["Recount"]
    assert len(gallery.content["patches"]) == counted.properties["Nuclei"]
    for patch in gallery.content["patches"]:
        assert (patch["sortKeyValue"] >= 0.2) == (patch["tag"] == 0)


def test_moved_patches_are_counted_anew_when_the_button_is_pressed(gallery: Gallery, counted: Result) -> None:
    nuclei, positive = int(number(counted, "Nuclei")), int(number(counted, "Positive"))
    gallery.move(1, to=0, count=12)
    text, table = gallery.press()
    assert (table["Positive"], table["Negative"], table["Nuclei"]) == (positive + 12, nuclei - positive - 12, nuclei)
    assert table["Positive (%)"] == round(100 * (positive + 12) / nuclei, 1)
    assert text == f"{table['Positive (%)']} % of {nuclei} nuclei positive, corrected by the user"
    assert (table["Positive, by the app"], table["Corrected by the user"]) == (positive, 12)
    assert table["DAB area (%)"] == counted.properties["DAB area (%)"]


def test_corrections_add_up_and_can_be_taken_back(gallery: Gallery, counted: Result) -> None:
    before = {**gallery.wire["displayProperties"]}
    patches = [{**each} for each in gallery.content["patches"]]
    positive = int(number(counted, "Positive"))
    gallery.move(1, to=0, count=5)
    assert gallery.press()[1]["Positive"] == positive + 5
    gallery.move(0, to=1, count=2)
    table = gallery.press()[1]
    assert (table["Positive"], table["Positive, by the app"]) == (positive + 3, positive)
    gallery.content["patches"] = patches
    text, table = gallery.press()
    assert text == counted.text
    assert table == before


def test_a_press_without_a_correction_changes_nothing(gallery: Gallery, counted: Result) -> None:
    before = {**gallery.wire["displayProperties"]}
    assert gallery.press() == (counted.text, before)


def test_nuclei_that_are_not_shown_keep_what_the_app_called_them(section: Path, counted: Result) -> None:
    gallery = Gallery(analysed(section, most_patches=20))
    nuclei, positive = int(number(counted, "Nuclei")), int(number(counted, "Positive"))
    table = gallery.wire["displayProperties"]
    assert (table["Nuclei"], table["Positive"], table["Nuclei shown"]) == (nuclei, positive, 40)
    assert f"20 of {positive} positive and 20 of {nuclei - positive} negative" in gallery.content["description"]
    gallery.move(0, to=1, count=20)
    text, table = gallery.press()
    assert (table["Positive"], table["Negative"]) == (positive - 20, nuclei - positive + 20)
    assert text.endswith("corrected by the user")


def test_a_correction_counts_in_the_regions_that_it_lies_in(section: Path) -> None:
    gallery = Gallery(analysed(section, areas(LEFT, RIGHT)))
    before = {**gallery.wire["displayProperties"]}
    negative = [patch for patch in gallery.content["patches"] if patch["tag"] == 1]
    left = [patch for patch in negative if patch["position"]["x"] < 0.39]
    shared = [patch for patch in negative if 0.41 < patch["position"]["x"] < 0.59]
    for patch in [*left[:4], *shared[:3]]:
        patch["tag"] = 0
    _, table = gallery.press()
    for prefix, count in (("", 7), ("Region 1: ", 7), ("Region 2: ", 3)):
        assert table[f"{prefix}Positive"] == before[f"{prefix}Positive"] + count
        assert table[f"{prefix}Negative"] == before[f"{prefix}Negative"] - count
        assert table[f"{prefix}Nuclei"] == before[f"{prefix}Nuclei"]
        assert table[f"{prefix}Positive (%)"] > before[f"{prefix}Positive (%)"]


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda wire, content: content["patches"].pop(), "patches, but"),
        (lambda wire, content: content["patches"][0].pop("sortKeyValue"), "not the app's"),
        (lambda wire, content: content["tags"].__setitem__(0, "malignant"), "not the app's"),
        (lambda wire, content: wire["displayProperties"].pop("Positive from DAB density"), "does not say"),
        (lambda wire, content: wire["displayProperties"].update(Nuclei="many"), "does not say"),
    ],
    ids=["patch gone", "density gone", "tag renamed", "threshold gone", "count spoilt"],
)
def test_what_cant_be_recounted_says_so_and_keeps_the_users_change(
    gallery: Gallery, spoil: Callable[[Any, Any], object], reason: str
) -> None:
    gallery.move(1, to=0, count=3)
    spoil(gallery.wire, gallery.content)
    text, table = gallery.press()
    assert text.startswith("update failed: ")
    assert reason in text
    assert "Positive (%)" not in table
    assert sum(patch["tag"] == 0 for patch in gallery.content["patches"]) >= 3


def test_haematoxylin_alone_is_all_negative(on_slide: Callable[..., Path]) -> None:
    true = scatter(80, side_um=200, seed=5, positive=0)
    result = analysed(on_slide(compose(true, side_um=200, seed=5)))
    assert result.text == f"0.0 % of {result.properties['Nuclei']} nuclei positive"
