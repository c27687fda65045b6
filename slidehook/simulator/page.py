"""The page at /: an overview of slides, apps and results."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, render_template
from flask.typing import ResponseReturnValue

from slidehook.simulator.current_dpat import current_dpat
from slidehook.simulator.dpat import Dpat
from slidehook.simulator.errors import SlideDamaged
from slidehook.simulator.slides import Slide

page = Blueprint("page", __name__, template_folder="templates")


@page.get("/")
def overview() -> ResponseReturnValue:
    """Show the slides, apps and results."""
    dpat = current_dpat()
    return render_template(
        "overview.html",
        options=dpat.options,
        callback_url=dpat.callback_url,
        slides=[_shown(dpat, slide) for slide in dpat.slides()],
        apps=dpat.apps(),
        results=list(reversed(dpat.results())),
    )


def _shown(dpat: Dpat, slide: Slide) -> dict[str, Any]:
    try:
        return {"slide": slide, "record": dpat.image_record(slide.id)}
    except SlideDamaged as error:
        return {"slide": slide, "fault": str(error)}
