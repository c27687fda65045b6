"""Tiny ONNX models that tell brown tissue from blue."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

BROWN, BLUE, NEITHER = 0, 1, 2


def write_model(
    path: Path,
    *,
    layout: str = "NCHW",
    side: int | str = "side",
    batch: int | str = "tiles",
    softmax: bool = False,
    classes: int = 3,
    kind: int = TensorProto.FLOAT,
) -> Path:
    """Write a model of two layers: a 1 x 1 convolution that compares red with blue, and one that weighs the mean.

    It takes red, green and blue, 0…1. `side` and `batch` are fixed where they are numbers. The logits are brown, blue
    and neither, the last of which wins where the two are within 0.02; `classes` leaves off the last ones, or adds
    some that never win.
    """
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    more = max(0, classes - 3)
    layers = {
        "compare": np.array([[1, 0, -1], [-1, 0, 1]], dtype).reshape(2, 3, 1, 1),
        "weigh": np.pad(np.array([[100, 0], [0, 100], [0, 0]], dtype), [(0, more), (0, 0)])[:classes],
        "least": np.pad(np.array([0, 0, 2], dtype), (0, more), constant_values=-1000)[:classes],
    }
    fed = [batch, 3, side, side] if layout == "NCHW" else [batch, side, side, 3]
    nodes = [] if layout == "NCHW" else [helper.make_node("Transpose", ["fed"], ["image"], perm=[0, 3, 1, 2])]
    last = "logits" if softmax else "answer"
    nodes += [
        helper.make_node("Conv", ["fed" if layout == "NCHW" else "image", "compare"], ["compared"]),
        helper.make_node("GlobalAveragePool", ["compared"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("Gemm", ["flat", "weigh", "least"], [last], transB=1),
    ]
    if softmax:
        nodes.append(helper.make_node("Softmax", ["logits"], ["answer"], axis=1))
    _write(path, nodes, helper.make_tensor_value_info("fed", kind, fed), [batch, classes], layers)
    return path


def _write(path: Path, nodes: list[Any], fed: Any, answer: list[int | str], layers: dict[str, Any]) -> None:
    kind = fed.type.tensor_type.elem_type
    graph = helper.make_graph(
        nodes,
        "brown-or-blue",
        [fed],
        [helper.make_tensor_value_info("answer", kind, answer)],
        [numpy_helper.from_array(values, name) for name, values in layers.items()],
    )
    # An older format than the package's own, which onnxruntime may not know yet.
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, path)
