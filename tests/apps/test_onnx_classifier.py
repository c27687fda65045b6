from __future__ import annotations

import json
import os
import re
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto
from shapely import Polygon

from slidehook import AppError, Frame, PixelPoint, Result, Slide
from slidehook.apps.onnx_classifier import Classified, Grid, OnnxClassifier, OnnxParams
from slidehook.measuring.tilemodel import CPU, CUDA
from slidehook.models import ImageInfo, Size
from slidehook.pixels.source import Pixels
from slidehook.registry.registry import Registry, load_apps
from slidehook.running.run_app import run_app
from slidehook.settings import Settings
from tests.apps.models import write_model
from tests.apps.slides import GLASS, glass, tissue, write_slide
from tests.e2e.running import HOUSE
from webserver.application import create_app

MPP = 0.5
TILE_PX = 64
SIDE = 128
"""A tile of 64 pixels of 1 µm, in level-0 pixels."""
CLASSES = [
    {"name": "brown", "colour": "#A0522D"},
    {"name": "blue", "colour": "#0000FF"},
    {"name": "neither", "shown": False},
]
MM2 = (MPP / 1000) ** 2

BROWN_PX = (12 * 10 - 3 * 2) * SIDE**2
"""A rectangle of 12 x 10 tiles with a hole of 3 x 2."""
RADIUS = 640
BLUE_PX = np.pi * RADIUS**2


def brown(rows: int, columns: int) -> Pixels:
    return stained(rows, columns, (0.27, 0.57, 0.78))


def blue(rows: int, columns: int) -> Pixels:
    return stained(rows, columns, (0.65, 0.70, 0.29))


def stained(rows: int, columns: int, absorption: tuple[float, float, float]) -> Pixels:
    """Return tissue as dense as the real one, in one stain: DAB's or haematoxylin's (Ruifrok and Johnston 2001)."""
    density = -np.log10(tissue(rows, columns).clip(1) / 255).mean(axis=2, keepdims=True)
    pixels: Pixels = (GLASS * 10 ** (-2 * density * absorption)).astype(np.uint8)
    return pixels


@pytest.fixture(scope="session")
def slide_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Brown tissue on the grid of tiles, with a hole, and a blue disc that lies across it; 2 x 1.5 mm."""
    pixels = glass(3000, 4000)
    top, left, bottom, right = (each * SIDE for each in (4, 2, 14, 14))
    pixels[top:bottom, left:right] = brown(bottom - top, right - left)
    pixels[8 * SIDE : 10 * SIDE, 6 * SIDE : 9 * SIDE] = glass(2 * SIDE, 3 * SIDE)
    y, x = np.mgrid[-RADIUS:RADIUS, -RADIUS:RADIUS] + 0.5
    disc = np.hypot(x, y) < RADIUS
    window = pixels[1300 - RADIUS : 1300 + RADIUS, 2900 - RADIUS : 2900 + RADIUS]
    window[disc] = blue(2 * RADIUS, 2 * RADIUS)[disc]
    return write_slide(tmp_path_factory.mktemp("onnx") / "two.tiff", pixels, mpp=MPP)


@pytest.fixture
def slide(slide_path: Path) -> Slide:
    return Slide(slide_path, ImageInfo(id="two", image_size=Size(width=4000, height=3000)))


MakeApp = Callable[..., OnnxClassifier]


@pytest.fixture
def make_app(tmp_path: Path) -> MakeApp:
    """Return the app as a site has it, with a model of `tests.apps.models`."""

    def make(*, model: dict[str, Any] | None = None, **params: Any) -> OnnxClassifier:
        app = OnnxClassifier()
        app.settings = Settings(_env_file=None, data_dir=tmp_path)
        (tmp_path / "apps").mkdir(exist_ok=True)
        write_model(tmp_path / "apps" / "model.onnx", **model or {})
        app.params = OnnxParams.model_validate({"tile_px": TILE_PX, "mpp": 1.0, "classes": CLASSES} | params)
        return app

    return make


def analyse(app: OnnxClassifier, slide: Slide, steps: list[float] | None = None) -> Result:
    app.setup()
    heard = [] if steps is None else steps
    with slide:
        return run_app(app, slide, lambda percent, _="": heard.append(percent))


def polygons(result: Result, colour: str) -> list[Polygon]:
    return [
        Polygon([(point.x, point.y) for point in shape.points]) for shape in result.shapes if shape.colour == colour
    ]


# --- on a slide whose tissue is known


@pytest.mark.parametrize(
    ("model", "params"),
    [
        pytest.param({}, {}, id="logits"),
        pytest.param({"layout": "NHWC"}, {"layout": "NHWC"}, id="channels last"),
        pytest.param({"softmax": True}, {"outputs": "probabilities"}, id="probabilities"),
        pytest.param({"batch": 8, "side": TILE_PX}, {}, id="fixed batch"),
        pytest.param({}, {"batch": 7}, id="a partial batch at the end"),
        pytest.param({}, {"batch": 1000}, id="one batch"),
        pytest.param({"kind": TensorProto.FLOAT16}, {}, id="half precision"),
    ],
)
def test_areas_are_what_was_put_on_the_slide(
    make_app: MakeApp, slide: Slide, model: dict[str, Any], params: dict[str, Any]
) -> None:
    result = analyse(make_app(model=model, **params), slide)
    assert result.properties["brown (mm²)"] == pytest.approx(BROWN_PX * MM2, rel=0.02)
    assert result.properties["blue (mm²)"] == pytest.approx(BLUE_PX * MM2, rel=0.04)
    assert result.properties["neither (mm²)"] == 0
    assert result.properties["Undecided (mm²)"] == 0


def test_touching_tiles_are_outlined_as_one_in_the_colour_of_their_class(make_app: MakeApp, slide: Slide) -> None:
    result = analyse(make_app(), slide)
    outer, hole = polygons(result, "#A0522D")
    assert list(outer.bounds) == [2 * SIDE, 4 * SIDE, 14 * SIDE, 14 * SIDE]
    assert outer.area == 12 * 10 * SIDE**2
    assert len(outer.exterior.coords) == 5
    assert list(hole.bounds) == [6 * SIDE, 8 * SIDE, 9 * SIDE, 10 * SIDE]
    (disc,) = polygons(result, "#0000FF")
    assert disc.area * MM2 == pytest.approx(result.properties["blue (mm²)"], abs=1e-3)
    assert disc.is_valid
    assert disc.centroid.distance(Polygon([(2900, 1300), (2901, 1300), (2900, 1301)])) < SIDE / 2


def test_the_text_and_the_gallery_show_the_classes_that_are_to_be_shown(make_app: MakeApp, slide: Slide) -> None:
    result = analyse(make_app(gallery_tiles=5), slide)
    assert result.text == f"brown {BROWN_PX * MM2:.2f} mm², blue {result.properties['blue (mm²)']:.2f} mm²"
    gallery = result.gallery
    assert gallery is not None
    assert gallery.counts() == {"brown": 5, "blue": 5}
    assert (gallery.patch_size_px, gallery.magnification) == (TILE_PX, 10)
    keys = [patch.sort_key for patch in gallery.patches if patch.tag == "blue"]
    assert keys == sorted(keys)  # type: ignore[type-var]
    (disc,) = polygons(result, "#0000FF")
    for patch in gallery.patches:
        inside = disc.contains(Polygon.from_bounds(*(2 * (patch.at.x, patch.at.y))).centroid)
        assert inside == (patch.tag == "blue")


def test_of_more_classes_than_a_gallery_may_have_tags_the_first_have_one(make_app: MakeApp, slide: Slide) -> None:
    names = ["brown", "blue", "c", "d", "e", "f", "g"]
    result = analyse(make_app(model={"classes": 7}, classes=[{"name": name} for name in names]), slide)
    assert result.gallery is not None
    assert result.gallery.tags == names[:5]
    assert result.gallery.description.endswith("(the first 5 classes)")
    assert all(f"{name} (mm²)" in result.properties for name in names)


def test_without_a_gallery_the_outlines_keep_their_colours(make_app: MakeApp, slide: Slide) -> None:
    result = analyse(make_app(gallery_tiles=0), slide)
    assert not result.gallery
    assert {shape.colour for shape in result.shapes} == {"#A0522D", "#0000FF"}


def test_a_tile_that_no_class_is_probable_enough_for_gets_none(make_app: MakeApp, slide: Slide) -> None:
    result = analyse(make_app(model={"softmax": True}, outputs="probabilities", least_probability=1), slide)
    whole = result.properties["Analysed area (mm²)"]
    parts = [result.properties[f"{name} (mm²)"] for name in ("brown", "blue", "neither", "Undecided")]
    assert whole == pytest.approx((BROWN_PX + BLUE_PX) * MM2, rel=0.03)
    assert sum(parts) == pytest.approx(whole, abs=0.003)  # type: ignore[arg-type]
    assert result.properties["Undecided (mm²)"] > 0  # type: ignore[operator]


def test_where_every_tile_has_a_class_none_is_undecided(make_app: MakeApp, slide: Slide) -> None:
    assert str(analyse(make_app(least_probability=0), slide).properties["Undecided (mm²)"]) == "0.0"


def test_the_result_says_what_it_rests_on(make_app: MakeApp, slide: Slide) -> None:
    app = make_app(batch=10)
    steps: list[float] = []
    result = analyse(app, slide, steps)
    assert result.properties["Tiles read"] == pytest.approx((BROWN_PX + BLUE_PX) / SIDE**2, rel=0.03)
    assert result.properties["Pixel size (µm)"] == MPP
    assert str(result.properties["Model"]).startswith("model.onnx, sha256 ")
    assert str(result.properties["Model"]).endswith(", on CPU")
    assert steps == sorted(steps)
    assert len(steps) > 10
    assert steps[-1] <= 100


@pytest.mark.filterwarnings("ignore:Specified provider 'CUDAExecutionProvider'")
def test_the_result_says_when_cuda_was_offered_but_the_cpu_did_it(
    make_app: MakeApp, slide: Slide, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: [CUDA, CPU])
    result = analyse(make_app(), slide)
    assert str(result.properties["Model"]).endswith(", on CPU (CUDA was offered, but can't be used here)")
    assert result.properties["brown (mm²)"] == pytest.approx(BROWN_PX * MM2, rel=0.02)


def test_a_slide_without_tissue_is_said_to_have_none(make_app: MakeApp, tmp_path: Path) -> None:
    empty = write_slide(tmp_path / "empty.tiff", glass(600, 800), mpp=MPP)
    with pytest.raises(AppError, match="no tissue was found"):
        analyse(make_app(), Slide(empty, ImageInfo(id="empty")))


# --- tiles as outlines


def test_tiles_are_cut_off_at_the_slides_edge() -> None:
    grid = Grid(Frame(250, 130), 100)
    cells = np.array([(0, 0), (2, 0), (2, 1)])
    assert grid.area_px(cells) == 100 * 100 + 50 * 100 + 50 * 30
    larger, smaller = grid.outlines(cells)
    assert [list(each.bounds) for each in (larger, smaller)] == [[0, 0, 100, 100], [200, 0, 250, 130]]
    assert grid.outlines(cells[:0]) == []


def test_tiles_of_an_odd_size_leave_no_crack_between_them() -> None:
    side = 224 * 0.5 / 0.2528
    cells = np.array([(column, row) for row in range(40) for column in range(50)])
    grid = Grid(Frame(100_000, 100_000), side)
    (whole,) = grid.outlines(cells)
    assert len(whole.exterior.coords) == 5
    assert whole.area == pytest.approx(grid.area_px(cells), rel=1e-12)
    assert grid.middle(0, 1) == PixelPoint(side / 2, 1.5 * side)


def test_the_surest_tiles_come_first() -> None:
    cells = np.array([(0, 0), (1, 0), (2, 0), (3, 0)])
    found = Classified(cells, np.array([1, 0, 1, 1]), np.array([0.6, 0.99, 0.9, 0.7], np.float32))
    assert [column for column, _, _ in found.top(1, 2)] == [2, 3]
    assert found.top(2, 2) == []


# --- what a site may get wrong


@pytest.mark.parametrize(
    ("model", "params", "sentence"),
    [
        ({"side": 96}, {}, "takes tiles x 3 x 96 x 96, but onnx.toml says tiles x 3 x 64 x 64 (NCHW)"),
        ({"layout": "NHWC"}, {}, "takes tiles x side x side x 3, but onnx.toml says tiles x 3 x 64 x 64 (NCHW)"),
        ({"classes": 2}, {}, "gives 1 x 2 numbers where 1 x 3 belong: onnx.toml names 3 classes"),
        ({}, {"outputs": "probabilities"}, "gives logits, not probabilities"),
        ({"softmax": True}, {}, "gives probabilities, not logits"),
        ({"kind": TensorProto.DOUBLE}, {}, "model.onnx is no model that onnxruntime loads: Could not find"),
    ],
)
def test_a_model_that_the_toml_does_not_fit_fails_with_one_sentence(
    make_app: MakeApp, model: dict[str, Any], params: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(AppError) as caught:
        make_app(model=model, **params).setup()
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_slide_that_is_coarser_than_the_model_was_trained_on_gets_no_class(make_app: MakeApp, slide: Slide) -> None:
    with pytest.raises(AppError, match=r"0\.5 µm wide, too coarse for a model of 0\.25 µm"):
        analyse(make_app(mpp=0.25), slide)


def test_a_file_that_is_no_model_fails_with_one_sentence(make_app: MakeApp, tmp_path: Path) -> None:
    app = make_app()
    (tmp_path / "apps" / "model.onnx").write_bytes(b"no model")
    with pytest.raises(AppError, match=r"^model\.onnx is no model that onnxruntime loads: "):
        app.setup()


@pytest.mark.parametrize(
    "params",
    [
        {"classes": []},
        {"classes": [{"name": "a"}, {"name": "a"}]},
        {"classes": [{"name": "a", "colour": "red"}]},
        {"classes": CLASSES[:1]},
        {"classes": [*CLASSES, {"name": "Undecided"}]},
        {"classes": [*CLASSES, {"name": "Analysed area"}]},
        {"classes": CLASSES, "std": [1, 0, 1]},
        {"classes": CLASSES, "tile_size": 224},
        {"classes": CLASSES, "layout": "CHW"},
    ],
)
def test_a_toml_that_makes_no_sense_is_refused(params: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="OnnxParams"):
        OnnxParams.model_validate_json(json.dumps(params))


# --- what a site has


def site_of(tmp_path: Path, toml: str | None, *, with_model: bool = True) -> Registry:
    folder = tmp_path / "apps"
    folder.mkdir()
    if toml is not None:
        (folder / "onnx.toml").write_text(toml)
    if with_model:
        write_model(folder / "tumour.onnx", side=224)
    return load_apps(Settings(_env_file=None, data_dir=tmp_path))


def documented() -> str:
    found = re.search(r"^```toml\n(.*?)^```", (HOUSE / "docs" / "onnx.md").read_text(), re.M | re.S)
    assert found is not None
    return found[1]


def test_the_documented_toml_makes_the_app_one_that_is_offered(tmp_path: Path) -> None:
    registry = site_of(tmp_path, documented())
    assert (registry.unready, registry.broken) == ((), ())
    app = registry["onnx"]
    assert isinstance(app, OnnxClassifier)
    app.setup()
    assert [(each.name, each.shown) for each in app.params.classes] == [
        ("tumour", True),
        ("stroma", True),
        ("other", False),
    ]
    # The page shows every parameter.
    assert set(OnnxParams.model_fields) == set(tomllib.loads(documented()))


def test_a_fresh_site_lists_the_app_as_not_offered_and_not_as_broken(tmp_path: Path) -> None:
    registry = site_of(tmp_path, None, with_model=False)
    assert "onnx" not in registry
    assert registry.broken == ()
    (unready,) = registry.unready
    assert (unready.app.id, unready.lacks) == (
        "onnx",
        f"no model configured: write {tmp_path / 'apps' / 'onnx.toml'}",
    )


@pytest.mark.parametrize(
    ("toml", "with_model", "reason"),
    [
        (documented(), False, r"^there is no model .*tumour\.onnx$"),
        ("tile_px = 'wide'", True, r"onnx\.toml: tile_px: "),
        ("classes = []", True, r"onnx\.toml: classes: "),
    ],
)
def test_a_site_that_got_it_wrong_is_told_so_and_keeps_its_other_apps(
    tmp_path: Path, toml: str, with_model: bool, reason: str
) -> None:
    registry = site_of(tmp_path, toml, with_model=with_model)
    assert "onnx" not in registry
    assert "wholeslide" in registry
    (broken,) = [each for each in registry.broken if each.app_id == "onnx"]
    assert re.search(reason, broken.reason)


def test_the_app_and_what_it_lacks_is_listed_for_people_and_programs(tmp_path: Path) -> None:
    env = {**os.environ, "SLIDEHOOK_DATA_DIR": str(tmp_path)}
    command = [str(HOUSE / ".venv" / "bin" / "slidehook"), "apps"]
    found = [
        subprocess.run([*command, *options], env=env, cwd=tmp_path, capture_output=True, text=True, check=True)
        for options in ([], ["--json"])
    ]
    assert "onnx is not available yet: no model configured" in found[0].stdout
    assert [each["id"] for each in json.loads(found[1].stdout)["unready"]] == ["onnx"]
    assert [each.stderr for each in found] == ["", ""]
    settings = Settings(_env_file=None, data_dir=tmp_path, queue_dir=tmp_path / "queue")
    web = create_app(settings).test_client()
    assert [each["id"] for each in web.get("/").json["unready"]] == ["onnx"]  # type: ignore[index]
    assert "is not available yet: no model configured" in web.get("/", headers={"Accept": "text/html"}).text
    assert web.get("/apps/onnx").status_code == 404


def test_without_a_model_the_app_says_what_to_write_where(tmp_path: Path) -> None:
    app = OnnxClassifier()
    app.settings = Settings(_env_file=None, data_dir=tmp_path)
    assert app.missing() == f"no model configured: write {tmp_path / 'apps' / 'onnx.toml'}"
    with pytest.raises(AppError, match="no model configured"):
        app.setup()


def test_a_model_that_is_not_there_is_a_fault(make_app: MakeApp) -> None:
    app = make_app(model=None)
    assert app.missing() is None
    app.params = app.params.model_copy(update={"model": Path("other.onnx")})
    with pytest.raises(AppError, match=r"there is no model .*other\.onnx"):
        app.missing()


def test_without_onnxruntime_the_app_says_what_to_install(make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(AppError, match=r"install slidehook\[onnx\]"):
        make_app().missing()
