from __future__ import annotations

from pathlib import Path

import pytest

from slidehook import App, AppError, Slide
from slidehook.apps.focus import Focus
from slidehook.apps.ihc import Ihc
from slidehook.apps.onnx_classifier import OnnxClassifier, OnnxParams
from slidehook.apps.tissue import Tissue
from slidehook.models import ImageInfo
from slidehook.running.run_app import run_app
from slidehook.settings import Settings
from tests.apps.ihc_runs import WHOLE, areas
from tests.apps.models import write_model
from tests.apps.slides import glass, small_tissue, write_slide


@pytest.fixture(scope="module")
def inverted_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A section as in a dark field: what is bright elsewhere is dark here."""
    pixels = glass(1200, 1600)
    pixels[300:800, 400:1200] = small_tissue(500, 800)
    return write_slide(tmp_path_factory.mktemp("dark") / "inverted.tiff", 255 - pixels, mpp=0.5)


def onnx(folder: Path) -> App:
    app = OnnxClassifier()
    app.settings = Settings(_env_file=None, data_dir=folder)
    (folder / "apps").mkdir()
    write_model(folder / "apps" / "model.onnx")
    classes = [{"name": each} for each in ("brown", "blue", "neither")]
    app.params = OnnxParams.model_validate({"tile_px": 64, "mpp": 1.0, "classes": classes})
    return app


@pytest.mark.parametrize("make", [lambda _: Tissue(), lambda _: Focus(), lambda _: Ihc(), onnx])
def test_a_slide_on_a_dark_ground_is_refused_by_every_app(make: object, inverted_path: Path, tmp_path: Path) -> None:
    assert callable(make)
    app = make(tmp_path)
    app.setup()
    drawn = areas(WHOLE) if isinstance(app, Ihc) else None
    with (
        Slide(inverted_path, ImageInfo(id="S-1"), drawn=drawn) as slide,
        pytest.raises(AppError, match=r"dark ground \(fluorescence, dark field\)"),
    ):
        run_app(app, slide, lambda *_: None)
