"""A result with more shapes than DPAT can draw: the largest reach the slide, and all stay on the worker's disk."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.conftest import Dpat, Site
from tests.packages import install

APP = """
import math
from slidehook import App, PixelPoint, Result

class Many(App):
    id = "many"
    name = "Many"
    needs = ()
    max_polygons = 20
    max_points = 500

    def analyze(self, slide, progress):
        result = Result("50 circles", {"Circles": 50})
        for number in range(50):
            radius = 10 + 4 * number
            angles = [2 * math.pi * corner / 200 for corner in range(200)]
            result.polygon(
                [PixelPoint(3000 + radius * math.cos(a), 2000 + radius * math.sin(a)) for a in angles], name="circle"
            )
        return result
"""


def test_the_largest_reach_the_slide_and_all_stay_on_disk(
    new_site: Callable[..., Site], new_dpat: Callable[..., Dpat], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages = tmp_path / "packages"
    packages.mkdir()
    monkeypatch.setenv("PYTHONPATH", str(install(packages, "many_app", APP, {"many": "Many"})))
    site = new_site()
    site.start_web()
    site.start_worker()
    dpat = new_dpat(site)
    dpat.register(f"{site.url}/apps/many")
    dpat.enable("many")
    slide_id = dpat.add_slide()
    dpat.invoke("many", slide_id)

    def final() -> bool:
        return any("Circles" in each["displayProperties"] for each in dpat.results("many", slide_id))

    assert dpat.wait_until(final, 60), dpat.results("many", slide_id)
    (result,) = dpat.results("many", slide_id)
    polygons = [each for item in result["data"]["result"]["content"] for each in item["polygons"]]
    assert len(polygons) == 20
    assert sum(len(each["points"]) for each in polygons) <= 500
    assert result["displayProperties"]["Shapes shown"] == "20 of 50 (largest; outlines simplified to 2.0 µm)"

    whole = json.loads((site.small_data(slide_id) / "result.geojson").read_text())
    assert len(whole["features"]) == 50
    assert {len(each["geometry"]["coordinates"][0]) for each in whole["features"]} == {201}
    assert whole["features"][0]["properties"]["classification"]["name"] == "circle"
