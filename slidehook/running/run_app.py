"""Runs one app on one slide, in a worker and at an author's desk alike."""

from __future__ import annotations

import time

import shapely

from slidehook.app import App
from slidehook.errors import PixelSizeUnknown
from slidehook.registry.fingerprint import fingerprint
from slidehook.result import Progress, Result
from slidehook.slide import Slide


def run_app(app: App, slide: Slide, progress: Progress, *, rests_on: str | None = None) -> Result:
    """Have `app` analyse `slide`, and add the receipt to its result's table.

    `rests_on`: the fingerprint in the receipt; None: the app's own, as it is now. Raises what the app raises, and
    TypeError when it returns no Result.
    """
    began = time.monotonic()
    rests_on = fingerprint(app) if rests_on is None else rests_on
    result = app.analyze(slide, progress)
    if not isinstance(result, Result):
        raise TypeError(f"analyze gave {type(result).__name__}, not a Result")
    size, unknown = None, ""
    try:
        size = slide.pixel_size
    except PixelSizeUnknown as error:
        unknown = str(error)
    # Regions may overlap: their common part was analysed once.
    drawn = shapely.union_all([each.polygon for each in slide.regions])
    area_px = float(drawn.area) or slide.frame.width * slide.frame.height
    rows = slide.receipt.rows(
        pixel_size=size,
        unknown=unknown,
        area_px=area_px,
        version=app.version,
        fingerprint=rests_on,
        seconds=time.monotonic() - began,
        geojson_frame=slide.geojson_frame,
        how_read=slide.how_read,
    )
    result.properties = {
        **result.properties,
        **{name: row for name, row in rows.items() if name not in result.properties},
    }
    return result


def certain_mpp(slide: Slide) -> float | None:
    """Return the µm per level-0 pixel of a slide; None when it is not certain."""
    try:
        return slide.mpp
    except PixelSizeUnknown:
        return None
