"""The IA-API's records: camelCase on the wire, snake_case here; unknown fields are dropped."""

from slidehook.dpat.iaapi.models.invocations import (
    Callback,
    Cancel,
    Create,
    Delete,
    DeletedRecord,
    Invocation,
    Modify,
    Notification,
    parse_invocation,
    parse_notification,
)
from slidehook.dpat.iaapi.models.registration import Registration, Token, VersionInfo
from slidehook.dpat.iaapi.models.results import (
    Attachment,
    Item,
    Label,
    PatchCollection,
    PatchContent,
    Primitive,
    ResultData,
    ResultRecord,
    Stored,
    StoredResult,
    Style,
)
from slidehook.models.base import Point, Polygon, Record, Size
from slidehook.models.first_fault import first_fault
from slidehook.models.images import PHI_FIELDS, ImageInfo, Named, QualityControl, QualityControlUpdate
from slidehook.models.inputs import Input, InputTemplate, MultiAreaInput, TaggedPolygonInput, WholeSlideInput

__all__ = [
    "PHI_FIELDS",
    "Attachment",
    "Callback",
    "Cancel",
    "Create",
    "Delete",
    "DeletedRecord",
    "ImageInfo",
    "Input",
    "InputTemplate",
    "Invocation",
    "Item",
    "Label",
    "Modify",
    "MultiAreaInput",
    "Named",
    "Notification",
    "PatchCollection",
    "PatchContent",
    "Point",
    "Polygon",
    "Primitive",
    "QualityControl",
    "QualityControlUpdate",
    "Record",
    "Registration",
    "ResultData",
    "ResultRecord",
    "Size",
    "Stored",
    "StoredResult",
    "Style",
    "TaggedPolygonInput",
    "Token",
    "VersionInfo",
    "WholeSlideInput",
    "first_fault",
    "parse_invocation",
    "parse_notification",
]  # fmt: skip
