from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slidehook.measuring.tilemodel import CPU, CUDA, ModelParams, TileModel, device, providers
from tests.apps.models import write_model

TILE_PX = 64
CLASSES = [{"name": "brown"}, {"name": "blue"}, {"name": "neither"}]
TENSORRT = "TensorrtExecutionProvider"


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


# --- what it runs on


@pytest.mark.parametrize(
    ("offered", "wanted"),
    [
        ([CPU], [CPU]),
        (["AzureExecutionProvider", CPU], [CPU]),
        ([TENSORRT, CUDA, CPU], [CUDA, CPU]),
        ([CPU, CUDA], [CUDA, CPU]),
    ],
)
def test_cuda_is_wanted_where_it_is_offered_and_the_cpu_in_any_case(offered: list[str], wanted: list[str]) -> None:
    assert providers(offered) == wanted


@pytest.mark.parametrize(
    ("wanted", "real", "said"),
    [
        ([CPU], [CPU], "CPU"),
        ([CUDA, CPU], [CUDA, CPU], "CUDA"),
        ([CUDA, CPU], [CPU], "CPU (CUDA was offered, but can't be used here)"),
    ],
)
def test_what_really_runs_it_is_said_and_not_what_was_wanted(wanted: list[str], real: list[str], said: str) -> None:
    assert device(wanted, real) == said


def test_where_cuda_is_offered_but_cant_be_used_the_model_runs_on_the_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So it is with onnxruntime-gpu on a machine without CUDA: it lists CUDA, can't load it, and goes on without.
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: [TENSORRT, CUDA, CPU])
    with pytest.warns(UserWarning, match="CUDAExecutionProvider"):
        model = loaded(write_model(tmp_path / "model.onnx"))
    assert model.device == "CPU (CUDA was offered, but can't be used here)"
    assert model(np.zeros((2, TILE_PX, TILE_PX, 3), np.uint8)).shape == (2, 3)
