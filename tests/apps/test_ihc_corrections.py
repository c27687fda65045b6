"""What a user corrects in the gallery of `ihc`, through what DPAT is sent, and sends back."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slidehook import AppError, Frame, Result
from slidehook.apps.ihc import MOST_CORNERS, MOST_PATCHES, Ihc
from slidehook.dpat.iaapi.models import StoredResult
from slidehook.dpat.stored_result import RecordMaker
from slidehook.jobs.job import Job, new_job_id
from slidehook.models import ImageInfo, Size
from slidehook.results.fewer_shapes import within_budget
from slidehook.results.limits import PLAIN_BODY_BYTES
from tests.apps.ihc_runs import LEFT, RIGHT, SIDE_UM, WHOLE, analysed, areas, number
from tests.apps.slides import write_slide
from tests.apps.stained import MPP, compose, scatter
from webserver.modify_answer import answer_change
from webserver.on_modify_process import ON_MODIFY

pytestmark = pytest.mark.usefixtures("changes_may_take_long")


class Gallery:
    """A result on the slide, as the user sees and changes it: through what DPAT is sent, and sends back."""

    def __init__(self, result: Result, *, side_um: float = SIDE_UM) -> None:
        side = round(side_um / MPP)
        self.info = ImageInfo(id="S-1", image_size=Size(width=side, height=side))
        job = Job(
            id=new_job_id(1), app_id="ihc", slide_id="S-1", created_at=0, trigger="user", input=areas(WHOLE),
            context=None, system="dpat", address="http://127.0.0.1:1/v1", secret="t",
        )  # fmt: skip
        shown = within_budget(result, max_polygons=Ihc.max_polygons, max_points=Ihc.max_points, mpp=MPP)
        record = RecordMaker(Ihc(), job, None).done(shown, Frame(side, side))
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
        """Press the button; returns the text and the table that stand on the slide then."""
        (button,) = self.content["actions"]
        button["state"] = 1
        stored, quality = answer_change(ON_MODIFY, Ihc(), StoredResult.model_validate(self.wire), lambda: self.info)
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


def test_a_correction_in_a_hole_counts_only_in_what_else_it_lies_in(section: Path) -> None:
    low, high = (0.1, 0.3), (0.9, 0.7)
    ring = [(low[0], low[0]), (high[0], low[0]), (high[0], high[0]), (low[0], high[0]), (low[0], low[0])]
    ring += [(low[1], low[1]), (low[1], high[1]), (high[1], high[1]), (high[1], low[1]), (low[1], low[1])]
    gallery = Gallery(analysed(section, areas(ring, WHOLE, ring)))
    before = {**gallery.wire["displayProperties"]}
    assert (before["Regions"], before["Holes"]) == (3, 2)
    inside = [
        patch
        for patch in gallery.content["patches"]
        if patch["tag"] == 1 and all(low[1] < patch["position"][axis] < high[1] for axis in "xy")
    ]
    for patch in inside[:4]:
        patch["tag"] = 0
    _, table = gallery.press()
    for prefix, more in (("", 4), ("Region 1: ", 0), ("Region 2: ", 4), ("Region 3: ", 0)):
        assert table[f"{prefix}Positive"] == before[f"{prefix}Positive"] + more


def grid_of(columns: int, rows: int) -> list[list[tuple[float, float]]]:
    """Return the rectangles of a grid over the whole slide, row by row."""
    x, y = np.linspace(0, 1, columns + 1).tolist(), np.linspace(0, 1, rows + 1).tolist()
    return [
        [(left, top), (right, top), (right, bottom), (left, bottom)]
        for top, bottom in pairwise(y)
        for left, right in pairwise(x)
    ]


def test_two_thousand_regions_and_more_are_counted_anew_as_well(tmp_path: Path) -> None:
    true = scatter(30, side_um=120, seed=5, positive=0)
    path = write_slide(tmp_path / "slide.tiff", compose(true, side_um=120, seed=5), mpp=MPP, quality=90)
    left = [(0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0)]
    gallery = Gallery(analysed(path, areas(left, *grid_of(50, 42)), smallest_region_mm2=0), side_um=120)
    before = {**gallery.wire["displayProperties"]}
    assert (before["Regions"], "Shapes shown" in before) == (2101, False)
    inside = [patch for patch in gallery.content["patches"] if patch["position"]["x"] < 0.5]
    inside[0]["tag"] = 0
    _, table = gallery.press()
    assert (table["Positive"], table["Region 1: Positive"]) == (1, 1)
    assert table["Region 1: Nuclei"] == before["Region 1: Nuclei"] == len(inside)


def test_regions_whose_outlines_would_not_come_back_in_one_request_are_refused(section: Path) -> None:
    angles = np.linspace(0, 2 * np.pi, MOST_CORNERS + 1)[:-1]
    round_one = np.stack([0.5 + 0.4 * np.cos(angles), 0.5 + 0.4 * np.sin(angles)], axis=1).tolist()
    result = analysed(section, areas(round_one))
    assert len(result.shapes[0].points) == MOST_CORNERS
    gallery = Gallery(result)
    gallery.content["patches"] *= -(-2 * MOST_PATCHES // len(gallery.content["patches"]))
    assert len(gallery.content["patches"]) >= 2 * MOST_PATCHES
    assert len(json.dumps(gallery.wire)) < PLAIN_BODY_BYTES
    with pytest.raises(AppError, match=rf"the regions have {MOST_CORNERS + 4:,} corners: {MOST_CORNERS:,} at most"):
        analysed(section, areas(round_one, WHOLE))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda wire, content: content["patches"].pop(), "patches, but"),
        (lambda wire, content: content["patches"][0].pop("sortKeyValue"), "not the app's"),
        (lambda wire, content: content["tags"].__setitem__(0, "malignant"), "not the app's"),
        (lambda wire, content: wire["displayProperties"].pop("Positive from DAB density"), "does not say"),
        (lambda wire, content: wire["displayProperties"].update(Nuclei="many"), "does not say"),
        (lambda wire, content: wire["displayProperties"].update(Nuclei=1), "would be positive"),
    ],
    ids=["patch gone", "density gone", "tag renamed", "threshold gone", "count spoilt", "too few"],
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
