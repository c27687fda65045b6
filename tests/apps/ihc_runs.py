"""The app `ihc`, run on composed slides, and what its tests ask of its results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from slidehook import Result, Slide
from slidehook.apps.ihc import Ihc, IhcParams
from slidehook.models import ImageInfo, Input, MultiAreaInput, TaggedPolygonInput
from slidehook.running.run_app import run_app
from tests.apps.stained import Nucleus

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
