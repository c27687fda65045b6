"""An ONNX model that classifies tiles, and the description of its input and output."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, model_validator

from slidehook.errors import AppError
from slidehook.pixels.source import Pixels

Probabilities = NDArray[np.float32]
"""0…1, shape (tiles, classes)."""
CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
"""onnxruntime's names of execution providers."""
_FLOATS = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
_SLACK = 1e-3
"""The tolerance of a probability outside 0…1, for rounding."""

Rgb = tuple[float, float, float]


class ModelClass(BaseModel, frozen=True, extra="forbid"):
    """One class, in the order of the model's outputs; only a `shown` one is outlined."""

    name: str = Field(min_length=1, max_length=64)
    colour: str = Field(default="#0078D4", pattern=r"^#[0-9A-Fa-f]{6}$")
    shown: bool = True


class ModelParams(BaseModel, frozen=True, extra="forbid"):
    """A model's input and output; the base of the parameters of apps that run one.

    A tile is `tile_px` wide and high. A pixel's red, green and blue, 0…255, are passed as (value x `scale` - `mean`)
    / `std`. `outputs` are one number per class; a model of one class distinguishes it from everything else, and its
    `outputs` have no default.
    """

    tile_px: int = Field(default=224, ge=8, le=4096)
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    scale: float = Field(default=1 / 255, gt=0)
    mean: Rgb = (0.0, 0.0, 0.0)
    std: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]] = (
        1.0,
        1.0,
        1.0,
    )
    outputs: Literal["logits", "probabilities"] = "logits"
    classes: tuple[ModelClass, ...] = Field(default=(), min_length=1)

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        names = [each.name for each in self.classes]
        if len(set(names)) < len(names):
            raise ValueError("two classes have the same name")
        if len(names) == 1 and "outputs" not in self.model_fields_set:
            # A probability looks like a logit above 0: every tile would be of the class, without a sign of the error.
            raise ValueError("with one class, outputs must be said: logits or probabilities")
        return self


def runtime_is_installed() -> bool:
    """Return whether onnxruntime is installed, without importing it, which is slow."""
    return importlib.util.find_spec("onnxruntime") is not None


def providers(offered: Sequence[str]) -> list[str]:
    """Return those of the offered providers that are used, best first: CUDA, then the CPU."""
    return [each for each in (CUDA, CPU) if each in offered]


def device(wanted: Sequence[str], real: Sequence[str]) -> str:
    """Return the provider that a session uses, by its own statement, and the reason if it is not the wanted one.

    onnxruntime offers CUDA whenever it was built with it, and continues without it if CUDA's libraries, the driver or
    the GPU are missing.
    """
    lost = [_short(each) for each in wanted if each not in real]
    return _short(real[0]) + (f" ({' and '.join(lost)} was offered, but can't be used here)" if lost else "")


class TileModel:
    """A loaded model, on CUDA if available, else on the CPU cores that this process may use.

    `said_in`: the file with `params`, for messages. Raises AppError with one sentence if `path` is not a model, or
    does not match `params`.
    """

    def __init__(self, path: Path, params: ModelParams, *, said_in: str) -> None:
        # An optional dependency, which has no types and is slow to import.
        runtime: Any = importlib.import_module("onnxruntime")
        state = importlib.import_module("onnxruntime.capi.onnxruntime_pybind11_state")

        self._params = params
        self._said_in = said_in
        self._errors = _errors(state)
        self.name = f"{path.name}, sha256 {_sha256(path)[:12]}"
        """The file's name, and the start of its digest."""
        options = runtime.SessionOptions()
        options.intra_op_num_threads = len(os.sched_getaffinity(0))
        options.log_severity_level = 3
        wanted = providers(runtime.get_available_providers())
        if CUDA in wanted and hasattr(runtime, "preload_dlls"):
            runtime.preload_dlls()  # otherwise CUDA's libraries are not searched among the installed packages
        try:
            self._session = runtime.InferenceSession(path, options, providers=wanted)
        except self._errors as error:
            raise AppError(f"{path.name} is no model that onnxruntime loads: {_words(error)}") from error
        self.device = device(wanted, self._session.get_providers())
        """The provider: `CUDA`, or `CPU`, with the reason if CUDA was wanted."""
        self._input, self._dtype, self._batch = self._checked_input()
        std = np.asarray(params.std, np.float32)
        self._factor = np.float32(params.scale) / std
        self._shift = -np.asarray(params.mean, np.float32) / std
        # The shape of a model's output is certain only after it has run.
        self(np.full((1, params.tile_px, params.tile_px, 3), 255, np.uint8))

    def _checked_input(self) -> tuple[str, type[Any], int | None]:
        """Return the input's name, its number type, and its batch size (None: any)."""
        inputs = self._session.get_inputs()
        if len(inputs) != 1:
            raise AppError(f"the model has {len(inputs)} inputs, but is fed one: a batch of tiles")
        found, side = inputs[0], self._params.tile_px
        if found.type not in _FLOATS:
            raise AppError(f"the model takes {found.type}, but is fed float or float16")
        fed = (3, side, side) if self._params.layout == "NCHW" else (side, side, 3)
        shape = list(found.shape)
        fits = len(shape) == 4 and all(
            not isinstance(told, int) or told == ours for told, ours in zip(shape[1:], fed, strict=True)
        )
        if not fits:
            told = " x ".join(str(each) for each in shape)
            ours = " x ".join(str(each) for each in fed)
            raise AppError(f"the model takes {told}, but {self._said_in} says tiles x {ours} ({self._params.layout})")
        return found.name, _FLOATS[found.type], shape[0] if isinstance(shape[0], int) and shape[0] > 0 else None

    def __call__(self, tiles: Pixels) -> Probabilities:
        """Return each tile's probabilities; `tiles`: uint8 RGB (tiles, `tile_px`, `tile_px`, 3). Raises AppError."""
        step = self._batch or len(tiles)
        return np.concatenate([self._run(tiles[at : at + step]) for at in range(0, len(tiles), step)])

    def _run(self, tiles: Pixels) -> Probabilities:
        fed = tiles * self._factor + self._shift
        if self._params.layout == "NCHW":
            fed = fed.transpose(0, 3, 1, 2)
        if self._batch is not None and len(fed) < self._batch:
            fed = np.concatenate([fed, np.zeros((self._batch - len(fed), *fed.shape[1:]), fed.dtype)])
        try:
            answer = self._session.run(None, {self._input: np.ascontiguousarray(fed, self._dtype)})[0]
        except self._errors as error:
            raise AppError(f"the model can't be run: {_words(error)}") from error
        return self._probabilities(answer, len(fed))[: len(tiles)]

    def _probabilities(self, answer: Any, tiles: int) -> Probabilities:
        classes = len(self._params.classes)
        values = np.asarray(answer)
        if values.shape[:1] != (tiles,) or values.size != tiles * classes:
            told = " x ".join(str(each) for each in values.shape)
            named = f"{self._said_in} names {classes} classes"
            raise AppError(f"the model gives {told} numbers where {tiles} x {classes} belong: {named}")
        values = values.reshape(tiles, classes).astype(np.float32)
        if not np.isfinite(values).all():
            raise AppError("the model gives what is no number")
        within = values.min() >= -_SLACK and values.max() <= 1 + _SLACK
        if self._params.outputs == "probabilities":
            if not within:
                raise AppError(
                    f'the model gives logits, not probabilities: set outputs = "logits" in {self._said_in}'
                )
            return values
        if classes == 1:
            return _softmax(np.concatenate([values, np.zeros_like(values)], axis=1))[:, :1]
        if within and np.allclose(values.sum(axis=1), 1, atol=_SLACK):
            raise AppError(
                f'the model gives probabilities, not logits: set outputs = "probabilities" in {self._said_in}'
            )
        return _softmax(values)


def _short(provider: str) -> str:
    return provider.removesuffix("ExecutionProvider")


def _softmax(logits: Probabilities) -> Probabilities:
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    found: Probabilities = raised / raised.sum(axis=1, keepdims=True)
    return found


def _errors(state: types.ModuleType) -> tuple[type[Exception], ...]:
    """Return onnxruntime's errors: they have no common base class."""
    return tuple(each for each in vars(state).values() if isinstance(each, type) and issubclass(each, Exception))


def _words(error: Exception) -> str:
    """Return onnxruntime's message, without its numbers."""
    return str(error).rpartition(" : ")[2].strip()


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise AppError(f"the model {path} can't be read: {error.strerror}") from error
