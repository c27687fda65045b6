"""Records shared by every system: a slide's image record and a user's input."""

from slidehook.models.base import Point, Polygon, Record, Size
from slidehook.models.images import ImageInfo, Named, QualityControl, QualityControlUpdate
from slidehook.models.inputs import Input, MultiAreaInput, TaggedPolygonInput, WholeSlideInput

__all__ = [
    "ImageInfo", "Input", "MultiAreaInput", "Named", "Point", "Polygon", "QualityControl", "QualityControlUpdate",
    "Record", "Size", "TaggedPolygonInput", "WholeSlideInput",
]  # fmt: skip
