"""Converts an app's Result to the record that DPAT stores."""

from __future__ import annotations

from slidehook.app import App
from slidehook.dpat import kinds
from slidehook.dpat.iaapi.models import ResultRecord
from slidehook.dpat.kinds import Draft
from slidehook.errors import AppError
from slidehook.geometry import Frame
from slidehook.result import Result


def draft_of(result: Result, frame: Frame) -> Draft:
    """Return a result's text, table and shapes or gallery; `frame` is the extent of its pixel coordinates."""
    draft = Draft(frame)
    for kind in kinds.KINDS:
        kind.publish(result, draft)
    return draft


def check_size(app: App | type[App], record: ResultRecord) -> None:
    """Raise AppError if a record is larger than the app's results may be: DPAT could not send it back."""
    size, most = len(record.model_dump_json(by_alias=True, exclude_none=True).encode()), app.most_record_bytes()
    if size > most:
        raise AppError(
            f"the app's result can't be sent to DPAT: it takes {size / 1e6:.1f} MB, {most / 1e6:.1f} MB is the most"
        )
