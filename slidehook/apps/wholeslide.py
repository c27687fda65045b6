"""The demo: pretends to compute, then draws a square in the middle of the slide."""

from __future__ import annotations

import time

from slidehook import App, Progress, Result, Slide, WholeSlide


class WholeSlideDemo(App):
    """Opens the slide and returns 42, like IA-API's public example; it measures nothing."""

    id = "wholeslide"
    name = "Whole slide demo"
    route = "/dpat_ia_app_demo/wholeslide"
    input = WholeSlide()
    needs = ("files", "thumbnail", "label")

    def analyze(self, slide: Slide, progress: Progress) -> Result:
        """Wait `DEMO_SECONDS` in three steps, then show a square in the middle third."""
        frame = slide.frame
        for percent in (20, 60, 100):
            progress(percent, "pretending to compute")
            time.sleep(self.settings.demo_seconds / 3)
        square = frame.rectangle(1 / 3, 1 / 3, 2 / 3, 2 / 3)
        result = Result("ANSWER: 42", {"Answer": 42, "Width (px)": frame.width, "Height (px)": frame.height})
        return result.polygon(square).label(square[0], "ANSWER: 42")
