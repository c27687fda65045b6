"""The image record: a slide's metadata as DPAT stores it."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import JsonValue, field_validator

from slidehook.models.base import Record, Size
from slidehook.models.reading import Id, LenientItem, Number, note_unread


class Named(Record):
    """The laboratory's name of a staining or a block; empty when DPAT names none."""

    display_name: str = ""

    @field_validator("display_name", mode="before")
    @classmethod
    def _empty(cls, value: Any) -> Any:
        return "" if value is None else value


class Specimen(Record):
    """The origin of the tissue."""

    anatomy: str | None = None
    description: str | None = None


class FocalPlane(Record):
    """One focal plane; `offset_um` in µm."""

    id: Id | None = None
    offset_um: Number | None = None


class OpticalPath(Record):
    """One optical path, such as a fluorescence channel."""

    id: Id | None = None
    description: str | None = None


class FileFormat(Record):
    """A file's type, such as `image/tiff`."""

    mime_type: str | None = None


class TileFormat(FileFormat):
    """A tile's type and the extension of its URL."""

    extension: str | None = None


class QualityControl(Record):
    """A slide's quality control status in DPAT: `NotSet`, `QualityOk` or `Rejected` (IA-API 1.10)."""

    status: str | None = None
    version_id: Id | None = None


class QualityControlUpdate(Record):
    """An app's change of a slide's quality control, with the version that it replaces (IA-API 1.10)."""

    application_version: str
    quality_control: QualityControl


class ImageInfo(Record, coerce_numbers_to_str=True):
    """A slide's metadata. Every field but the id may be missing, because servers differ.

    `image_size` in level-0 pixels, `tile_size` in pixels of the tile's own level, `microns_per_pixel` in µm.
    DPAT returns the identifying fields at the end only on request.
    """

    must_parse: ClassVar[frozenset[str]] = frozenset({"image_size"})

    id: str
    is_streamable: bool | None = None
    image_size: Size | None = None
    tile_size: Size | None = None
    microns_per_pixel: Number | None = None
    focal_planes: list[LenientItem[FocalPlane]] | None = None
    optical_paths: list[LenientItem[OpticalPath]] | None = None
    stored_tile_format: TileFormat | None = None
    available_tile_formats: list[LenientItem[TileFormat]] | None = None
    file_format: FileFormat | None = None
    staining: Named = Named()
    block: Named = Named()
    specimen: Specimen | None = None
    body_part: str | None = None
    exam_code: str | None = None
    exam_description: str | None = None
    station_name: str | None = None
    priority: Id | None = None
    quality_control: QualityControl | None = None

    series_instance_uid: str | None = None
    lis_slide_id: str | None = None
    accession_number: str | None = None
    accession_number_issuer: str | None = None
    study_instance_uid: str | None = None
    exam_id: str | None = None
    exam_date_time: str | None = None
    exam_free_fields: JsonValue = None

    @field_validator("image_size", "tile_size", mode="before")
    @classmethod
    def _unknown(cls, value: Any) -> Any:
        # A size without width or height is useless.
        return None if isinstance(value, dict) and None in (value.get("width"), value.get("height")) else value

    @field_validator("microns_per_pixel")
    @classmethod
    def _above_zero(cls, value: float | None) -> float | None:
        if value is None or value > 0:
            return value
        note_unread("micronsPerPixel")
        return None

    @field_validator("staining", "block", mode="before")
    @classmethod
    def _unnamed(cls, value: Any) -> Any:
        return {} if value is None else value

    @property
    def tile_extension(self) -> str:
        """The extension of a tile's URL: the first listed format that Pillow always reads, else `jpg`."""
        formats = [each for each in (self.stored_tile_format, *(self.available_tile_formats or [])) if each]
        known = [each.extension.lstrip(".") for each in formats if each.extension]
        return next((each for each in known if each in {"jpg", "jpeg", "png"}), "jpg")

    def without_phi(self) -> ImageInfo:
        """Return the record without the fields that identify a patient."""
        return self.model_copy(update=dict.fromkeys(PHI_FIELDS))


PHI_FIELDS = (
    "series_instance_uid",
    "lis_slide_id",
    "accession_number",
    "accession_number_issuer",
    "study_instance_uid",
    "exam_id",
    "exam_date_time",
    "exam_free_fields",
)
"""The identifying fields of an image record."""
