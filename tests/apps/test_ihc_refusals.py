"""What `ihc` gives no number for, and what a site can set of it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from openslide import OpenSlide
from pydantic import ValidationError
from scipy import ndimage

from slidehook import AppError, Result, Slide
from slidehook.apps.ihc import Ihc, IhcParams
from slidehook.errors import PixelSizeUnknown
from slidehook.models import ImageInfo
from slidehook.pixels.file_pixels import FilePixels
from slidehook.pixels.source import Pixels
from slidehook.running.run_app import run_app
from tests.apps.ihc_runs import INFO, SIDE_UM, WHOLE, analysed, areas, number, percent
from tests.apps.slides import gaussian, glass, tissue
from tests.apps.stained import DAB, EOSIN, GLASS, MPP, Nucleus, absorbed, compose, scatter

TISSUE = [(0.0, 0.0), (0.9, 0.0), (0.9, 0.9), (0.0, 0.9)]
"""What is left of the glass, on a slide that has some on its right."""

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


def blurred(pixels: Pixels, sigma_um: float, *, mpp: float = MPP) -> Pixels:
    return np.rint(gaussian(pixels, sigma_um / mpp)).clip(0, 255).astype(np.uint8)


def clouds(strength: float, stain: Any) -> Pixels:
    waves = ndimage.gaussian_filter(np.random.default_rng(1).random((800, 800)), 4)
    return absorbed(strength * (waves - waves.min())[..., None] / np.ptp(waves) * stain, noise=3)


@pytest.fixture(scope="module")
def sharp(nuclei: list[Nucleus], picture: Pixels) -> dict[str, Pixels]:
    """The same nuclei, with DAB in them or in membranes round them."""
    return {"nucleus": picture, "cell": compose(nuclei, side_um=SIDE_UM, seed=1, membranes=True)}


@pytest.mark.parametrize("sigma_um", [1.0, 2.0, 4.0, 6.0])
@pytest.mark.parametrize("compartment", ["nucleus", "cell"])
def test_a_blurred_picture_is_not_counted(
    on_slide: Callable[..., Path], sharp: dict[str, Pixels], sigma_um: float, compartment: str
) -> None:
    path = on_slide(blurred(sharp[compartment], sigma_um))
    assert_not_counted(analysed(path, compartment=compartment), "the region is blurred")


def beside_glass(pixels: Pixels) -> Pixels:
    """Return a slide whose right tenth is glass, by which its stains are measured."""
    return np.concatenate([pixels, np.full((len(pixels), len(pixels) // 9, 3), GLASS, np.uint8)], axis=1)


@pytest.mark.parametrize("blur", [(3.0, 0.45), (5.0, 0.6), (5.0, 1.0), (10.0, 0.6), (20.0, 1.0)])
@pytest.mark.parametrize("compartment", ["nucleus", "cell"])
@pytest.mark.parametrize("kind", ["real", "composed", "sparse"])
def test_a_region_that_is_partly_so_blurred_that_no_detail_is_left_is_not_counted(
    on_slide: Callable[..., Path],
    sharp: dict[str, Pixels],
    blur: tuple[float, float],
    compartment: str,
    kind: str,
) -> None:
    sigma_um, part = blur
    mpp, pixels = MPP, sharp[compartment]
    if kind == "real":
        mpp, pixels = 0.5, tissue(1024, 1024)
    if kind == "sparse":
        pixels = compose(scatter(80, side_um=SIDE_UM, seed=2), side_um=SIDE_UM, seed=2)
    until = round(part * pixels.shape[1])
    pixels = np.concatenate([blurred(pixels, sigma_um, mpp=mpp)[:, :until], pixels[:, until:]], axis=1)
    noise = np.random.default_rng(1).normal(0, 2, pixels.shape)
    path = on_slide(beside_glass(np.rint(pixels + noise).clip(0, 255).astype(np.uint8)), mpp=mpp)
    assert_not_counted(analysed(path, areas(TISSUE), compartment=compartment), "the region is ")


@pytest.mark.parametrize("compartment", ["nucleus", "cell"])
def test_real_tissue_that_is_sharp_is_counted(on_slide: Callable[..., Path], compartment: str) -> None:
    result = analysed(on_slide(beside_glass(tissue(1024, 1024)), mpp=0.5), areas(TISSUE), compartment=compartment)
    assert number(result, "Nuclei") > 500
    assert "Blurred or without detail (%)" not in result.properties


def test_a_smaller_blurred_part_is_told(on_slide: Callable[..., Path], picture: Pixels) -> None:
    pixels = picture.copy()
    pixels[:, :330] = blurred(picture, 10.0)[:, :330]
    result = analysed(on_slide(beside_glass(pixels)), areas(TISSUE))
    assert number(result, "Blurred or without detail (%)") == pytest.approx(12, abs=6)
    assert "Blurred or without detail (%)" not in analysed(on_slide(picture)).properties


def test_where_no_nucleus_is_found_beside_what_is_blurred_both_are_said(
    on_slide: Callable[..., Path], picture: Pixels
) -> None:
    pixels = glass(2400, 2400)
    pixels[:600, :600] = blurred(picture, 20.0)[300:900, 300:900]
    text = analysed(on_slide(pixels)).text
    assert re.fullmatch(r"no nuclei found, but \d+\.\d % is blurred or without detail", text), text


def test_a_blurred_region_among_others_is_named(on_slide: Callable[..., Path], picture: Pixels) -> None:
    pixels = picture.copy()
    pixels[:, 600:] = blurred(picture, 3.0)[:, 600:]
    left, right = [(0, 0), (0.4, 0), (0.4, 1), (0, 1)], [(0.6, 0), (1, 0), (1, 1), (0.6, 1)]
    assert_not_counted(analysed(on_slide(pixels), areas(left, right)), "region 2 is blurred")


def test_of_several_regions_the_one_that_is_refused_bears_its_number(section: Path) -> None:
    small = [(0.5, 0.8), (0.52, 0.8), (0.52, 0.82)]
    result = analysed(section, areas(WHOLE, small))
    assert_not_counted(result, "region 2 is too small")
    (label,) = result.texts
    assert (label.words, label.at) == ("2", result.shapes[1].points[0])
    assert analysed(section, areas(small)).texts == []


OUTER = [(0.1, 0.1), (0.9, 0.1), (0.9, 0.9), (0.1, 0.9)]
RING = [*OUTER, (0.1, 0.1), (0.3, 0.3), (0.3, 0.7), (0.7, 0.7), (0.7, 0.3), (0.3, 0.3)]
"""A line that touches itself: a square with a hole."""


def test_a_hole_is_shown_and_not_counted(section: Path) -> None:
    inside = [(0.35, 0.35), (0.65, 0.35), (0.65, 0.65), (0.35, 0.65)]
    alone = analysed(section, areas(RING))
    assert [each.name for each in alone.shapes] == ["", "hole"]
    assert number(alone, "Nuclei") < number(analysed(section, areas(OUTER)), "Nuclei")
    both = analysed(section, areas(inside, RING))
    assert number(both, "Region 2: Nuclei") == number(alone, "Nuclei")
    assert number(both, "Nuclei") == number(alone, "Nuclei") + number(analysed(section, areas(inside)), "Nuclei")
    assert (both.properties["Holes"], both.properties["Region 2: Holes"]) == (1, 1)
    assert "Region 1: Holes" not in both.properties


def test_the_light_that_stains_are_measured_by_is_told(section: Path) -> None:
    told = str(analysed(section).properties["Glass (red, green, blue)"])
    assert all(200 < int(each) <= 255 for each in told.split(", ")), told


def test_a_picture_without_haematoxylin_is_not_counted(on_slide: Callable[..., Path]) -> None:
    assert_not_counted(analysed(on_slide(clouds(0.8, DAB))), "the region is without haematoxylin")


def test_another_stain_is_not_counted(on_slide: Callable[..., Path], nuclei: list[Nucleus]) -> None:
    blue = compose([replace(each, positive=False) for each in nuclei], side_um=SIDE_UM, seed=1)
    pixels = absorbed(-np.log10(blue / 255.0) + 0.3 * EOSIN, noise=2)
    assert_not_counted(analysed(on_slide(pixels)), "not stained with haematoxylin and DAB")


@pytest.mark.parametrize("name", ["H&E", "HE", "PAS", "Giemsa", "Masson trichrome", "Silver stain"])
def test_a_slide_whose_record_names_another_stain_is_not_counted_unless_the_site_allows_it(
    section: Path, name: str
) -> None:
    info = ImageInfo.model_validate({"id": "S-1", "staining": {"displayName": name}})
    assert_not_counted(
        analysed(section, info=info), f"not stained with haematoxylin and DAB: its record says {name!r}"
    )
    allowed = analysed(section, info=info, allowed_stainings=[name.lower()])
    assert allowed.properties["Nuclei"] == analysed(section).properties["Nuclei"]


def test_an_antibody_or_an_unknown_name_in_the_record_is_no_reason_to_refuse(section: Path) -> None:
    for name in ("Ki-67", "HE4", "IHC 777", "Färbung 12"):
        info = ImageInfo.model_validate({"id": "S-1", "staining": {"displayName": name}})
        assert "Nuclei" in analysed(section, info=info).properties


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
        analysed(on_slide(picture, mpp=1.1))
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
    with pytest.raises(PixelSizeUnknown, match=r"DPAT states 0\.5"):
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
