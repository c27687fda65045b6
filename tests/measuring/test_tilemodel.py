from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slidehook.measuring.tilemodel import ModelParams, TileModel
from tests.apps.models import write_model

TILE_PX = 64
CLASSES = [{"name": "brown"}, {"name": "blue"}, {"name": "neither"}]


def loaded(path: Path, **params: Any) -> TileModel:
    fed = ModelParams.model_validate({"tile_px": TILE_PX, "classes": CLASSES} | params)
    return TileModel(path, fed, said_in="onnx.toml")


def test_one_class_is_told_from_everything_else(tmp_path: Path) -> None:
    model = loaded(write_model(tmp_path / "model.onnx", classes=1), classes=CLASSES[:1], outputs="logits")
    tiles = np.zeros((2, TILE_PX, TILE_PX, 3), np.uint8)
    tiles[:] = np.array([(200, 0, 100), (100, 0, 200)], np.uint8)[:, None, None]
    assert model(tiles)[:, 0] == pytest.approx([1, 0], abs=1e-6)


def test_pixels_are_scaled_and_normalised_as_the_parameters_say(tmp_path: Path) -> None:
    # Mean and deviation take away that red is 20/255 above blue: what is left is neither brown nor blue.
    path = write_model(tmp_path / "model.onnx")
    tile = np.full((1, TILE_PX, TILE_PX, 3), 100, np.uint8)
    tile[..., 0] = 120
    assert loaded(path, mean=(20 / 255, 0, 0), std=(1, 0.5, 1))(tile).argmax() == 2
    assert loaded(path, std=(1, 0.5, 1))(tile).argmax() == 0
