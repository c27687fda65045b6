"""The largest record that an app may have stored."""

from __future__ import annotations

from slidehook.app import App
from slidehook.dpat.iaapi.models import ResultRecord
from slidehook.errors import AppError


def check_size(app: App | type[App], record: ResultRecord) -> None:
    """Raise AppError when a record is larger than an app's result may be, as by its texts: it could not come back."""
    size, most = len(record.model_dump_json(by_alias=True, exclude_none=True).encode()), app.most_record_bytes()
    if size > most:
        raise AppError(
            f"the app's result can't be sent to DPAT: it takes {size / 1e6:.1f} MB, {most / 1e6:.1f} MB is the most"
        )
