"""Tissue on real slides: areas that two other methods agree on, and what is none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from PIL import Image, ImageDraw
from shapely import Polygon

from slidehook import Slide
from slidehook.apps.tissue import Tissue
from slidehook.measuring.glass import glass_colour
from slidehook.measuring.tissue import tissue_mask
from slidehook.models import ImageInfo
from slidehook.pixels.source import Pixels
from slidehook.pixels.tiles import Mask
from slidehook.results.geojson import read_outlines
from slidehook.running.run_app import run_app

TISSUE = (
    [
        (559, 440), (557, 410), (562, 402), (584, 399), (601, 384), (609, 381), (618, 366), (630, 353), (641, 358),
        (641, 345), (640, 332), (652, 318), (665, 308), (674, 296), (690, 289), (695, 283), (715, 281), (733, 279),
        (745, 277), (762, 279), (769, 288), (767, 296), (775, 299), (787, 296), (795, 288), (803, 292), (803, 282),
        (820, 284), (842, 267), (838, 262), (826, 259), (814, 249), (820, 242), (836, 239), (840, 245), (866, 250),
        (880, 260), (891, 280), (893, 300), (888, 330), (880, 350), (860, 375), (840, 386), (800, 402), (786, 409),
        (779, 411), (770, 403), (757, 411), (760, 430), (745, 445), (737, 452), (594, 452), (592, 440), (575, 442),
    ],
    [
        (964, 202), (968, 200), (985, 193), (1003, 188), (1060, 186), (1100, 187), (1110, 183), (1130, 182),
        (1131, 202), (1147, 201), (1156, 215), (1152, 235), (1149, 258), (1160, 260), (1171, 278), (1168, 290),
        (1168, 312), (1160, 308), (1150, 305), (1143, 312), (1135, 303), (1126, 288), (1112, 290), (1108, 300),
        (1095, 302), (1089, 295), (1090, 288), (1075, 276), (1068, 282), (1052, 276), (1054, 290), (1052, 305),
        (1059, 318), (1056, 328), (1045, 331), (1032, 322), (1035, 340), (1030, 352), (1020, 352), (1010, 340),
        (1000, 310), (996, 285), (1003, 265), (1010, 255), (1008, 247), (988, 245), (984, 232), (996, 215),
        (1000, 207), (985, 205),
    ],
    [(999, 125), (1032, 125), (1032, 142), (999, 142)], [(1038, 134), (1063, 134), (1063, 153), (1038, 153)],
    [(960, 161), (976, 161), (976, 172), (960, 172)], [(949, 176), (975, 176), (975, 181), (949, 181)],
    [(950, 184), (985, 184), (985, 194), (950, 194)], [(1201, 170), (1232, 170), (1232, 188), (1201, 188)],
    [(1233, 177), (1260, 177), (1260, 189), (1233, 189)],
)  # fmt: skip
"""What is tissue in coverslip_edge_ihc.png: its outlines as drawn by hand over the picture, in its pixels."""
HOLES = (
    [
        (690, 366), (712, 362), (735, 370), (738, 385), (733, 395), (720, 402), (712, 400), (700, 390), (690, 384),
        (678, 384), (674, 378),
    ],
    [(640, 404), (668, 396), (672, 404), (650, 420), (640, 432), (620, 440), (605, 438), (625, 420)],
    [(675, 422), (700, 415), (710, 428), (695, 432), (680, 428)],
)  # fmt: skip
PALE = (slice(190, 245), slice(1000, 1150))
"""A part of the tissue that has hardly a colour: it may be missed."""


def picture(path: Path) -> Pixels:
    with Image.open(path) as opened:
        return np.asarray(opened.convert("RGB"))


def traced() -> Mask:
    image = Image.new("1", (1488, 452))
    draw = ImageDraw.Draw(image)
    for outline in TISSUE:
        draw.polygon(outline, fill=1)
    for hole in HOLES:
        draw.polygon(hole, fill=0)
    return np.array(image)


@pytest.mark.parametrize("turns", range(4))
def test_the_edge_of_the_glass_and_a_smear_are_no_tissue(real_slides: Path, turns: int) -> None:
    pixels = np.rot90(picture(real_slides / "odd" / "coverslip_edge_ihc.png"), turns)
    truth = traced()
    found = np.rot90(tissue_mask(pixels, mpp=8.0), -turns)

    assert np.count_nonzero(found & ~truth) < 0.12 * np.count_nonzero(found)
    truth[PALE] = False
    assert np.count_nonzero(found & truth) > 0.9 * np.count_nonzero(truth)


@pytest.mark.parametrize("mpp", [8.0, 16.0, 24.0])
def test_a_green_pen_is_no_tissue(real_slides: Path, mpp: float) -> None:
    pixels = picture(real_slides / "odd" / "pen_green.png")
    with Image.open(real_slides / "odd" / "pm_green.png") as opened:
        pen = np.asarray(opened.convert("L")) > 127

    found = tissue_mask(pixels, mpp=mpp)

    assert np.count_nonzero(found & pen) < 0.02 * np.count_nonzero(pen)
    tumour = (slice(180, 360), slice(400, 620))
    assert found[tumour].mean() > 0.9


@pytest.mark.parametrize(
    ("name", "said", "least", "most"),
    [
        ("cmu-1-small-region.svs", {}, 0.54, 0.68),
        ("tcga-cr-7395-region.svs", {"microns_per_pixel": 0.5}, 2.47, 2.59),
    ],
)
def test_areas_are_what_other_methods_measure(
    real_slides: Path, name: str, said: dict[str, Any], least: float, most: float
) -> None:
    with Slide(real_slides / "he" / name, ImageInfo(id="S-1", **said)) as slide:
        result = run_app(Tissue(), slide, lambda *_: None)
    assert least <= float(result.properties["Tissue (mm²)"]) <= most


@pytest.mark.parametrize("name", ["he/high-nuclei.png", "ki67/22_2.png", "ki67/34_3.png", "odd/pen_green.png"])
def test_no_bright_field_picture_passes_for_one_on_a_dark_ground(real_slides: Path, name: str) -> None:
    pixels = picture(real_slides / name)
    high, wide = pixels.shape[:2]
    assert glass_colour(pixels) is not None
    assert glass_colour(np.pad(pixels, ((high, high), (wide, 0), (0, 0)))) is not None


def test_a_region_with_a_hole_is_read_without_the_hole(real_slides: Path) -> None:
    path = real_slides / "odd" / "region-with-hole.geojson"
    drawn = shapely.from_geojson(json.dumps(json.loads(path.read_text())["geometry"]))
    assert isinstance(drawn, Polygon)
    assert drawn.interiors
    (outline,) = read_outlines(path)
    found = Polygon([(each.x, each.y) for each in outline.points])
    assert found.is_valid
    assert found.symmetric_difference(drawn).area < 0.001 * drawn.area
