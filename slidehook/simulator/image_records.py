"""Builds a slide's image record from the slide file and the JSON file beside it, with or without PHI."""

from __future__ import annotations

import json
from typing import Any

import openslide
from pydantic import ValidationError
from pydantic.alias_generators import to_camel

from slidehook.dpat.iaapi.models import PHI_FIELDS, ImageInfo, first_fault
from slidehook.simulator.errors import SlideDamaged
from slidehook.simulator.pictures import TILE_PX, Pictures
from slidehook.simulator.slides import Slide

PHI_KEYS = frozenset(to_camel(name) for name in PHI_FIELDS)


class ImageRecords:
    """Returns image records as JSON objects; they are reread each time, so that an edit applies at once."""

    def __init__(self, pictures: Pictures) -> None:
        self._pictures = pictures

    def record(self, slide: Slide, *, phi: bool) -> dict[str, Any]:
        """Return the record, with identifying fields only if `phi`. Raises SlideDamaged."""
        record = _from_file(slide, self._pictures.opened(slide).image) | _from_json_file(slide)
        try:
            ImageInfo.model_validate(record)
        except ValidationError as error:
            raise SlideDamaged(f"{slide.record_path.name} is wrong: {first_fault(error).of()}.") from error
        return {key: value for key, value in record.items() if phi or key not in PHI_KEYS}

    def accession(self, slide: Slide) -> tuple[str | None, str | None]:
        """Return the slide's accession number and its issuer, each None if missing."""
        record = _from_json_file(slide)
        return record.get("accessionNumber"), record.get("accessionNumberIssuer")


def _from_file(slide: Slide, image: openslide.OpenSlide) -> dict[str, Any]:
    width, height = image.dimensions
    mpp = image.properties.get(openslide.PROPERTY_NAME_MPP_X)
    kind = "application/dicom" if slide.vendor == "dicom" else "image/tiff"
    return {
        "id": slide.id,
        "isStreamable": True,
        "imageSize": {"width": width, "height": height},
        "tileSize": {"width": TILE_PX, "height": TILE_PX},
        "micronsPerPixel": float(mpp) if mpp else None,
        "focalPlanes": [{"id": "0", "offsetUm": 0.0}],
        "opticalPaths": [{"id": "0", "description": "Brightfield"}],
        "storedTileFormat": {"mimeType": "image/jpeg", "extension": "jpg"},
        "availableTileFormats": [
            {"mimeType": "image/jpeg", "extension": "jpg"},
            {"mimeType": "image/png", "extension": "png"},
        ],
        "fileFormat": {"mimeType": kind},
        "staining": {"displayName": ""},
        "block": {"displayName": ""},
    }


def _from_json_file(slide: Slide) -> dict[str, Any]:
    try:
        text = slide.record_path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    try:
        content = json.loads(text)
    except ValueError as error:
        raise SlideDamaged(f"{slide.record_path.name} is not JSON: {error}.") from error
    if not isinstance(content, dict):
        raise SlideDamaged(f"{slide.record_path.name} is not a JSON object.")
    # The id is the file's name; under another id the slide could not be found.
    return {**content, "id": slide.id}
