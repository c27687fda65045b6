"""A site's parameters of an app: `<DATA_DIR>/apps/<id>.toml`, checked by the app's own pydantic model."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from slidehook.errors import SlidehookError
from slidehook.models.first_fault import first_fault


class ParamsInvalid(SlidehookError):
    """The app has no such parameter, or the value is invalid."""


def params_path(data_dir: Path, app_id: str) -> Path:
    """Return the file in which a site writes an app's parameters."""
    return data_dir / "apps" / f"{app_id}.toml"


def site_params(defaults: BaseModel, path: Path) -> BaseModel:
    """Return `defaults` with the values in `path` applied; unchanged if the file does not exist.

    Raises ParamsInvalid with one sentence that names the file, the key and the reason.
    """
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return defaults
    except OSError as error:
        raise ParamsInvalid(f"{path} can't be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ParamsInvalid(f"{path} is no TOML: {error}") from error
    return changed_params(defaults, told, source=str(path))


def changed_params(params: BaseModel, changes: Mapping[str, Any], *, source: str) -> BaseModel:
    """Return `params` with `changes` applied, nested tables merged; `source` names their origin in errors.

    Raises ParamsInvalid on unknown or invalid values, even if the model allows unknown ones.
    """
    if not changes:
        return params
    model = type(params)
    known = set(model.model_fields) | {each.alias for each in model.model_fields.values() if each.alias}
    strange = [name for name in changes if name not in known]
    if strange and model.model_config.get("extra") != "allow":
        raise ParamsInvalid(f"{source}: {strange[0]} is none of the app's parameters ({_listed(known)})")
    # What the app's own default sets otherwise than its model counts as a default as well.
    base = params.model_dump(exclude_unset=True, by_alias=True)
    try:
        return model.model_validate(_merged(base, changes))
    except ValidationError as error:
        raise ParamsInvalid(f"{source}: {first_fault(error)}") from error


def read_assignments(lines: Iterable[str]) -> dict[str, Any]:
    """Read pairs `name=value` or `table.name=value`; a value that is not TOML is a text.

    Raises ParamsInvalid if one is not a pair.
    """
    found: dict[str, Any] = {}
    for line in lines:
        name, equals, value = line.partition("=")
        parts = [part.strip() for part in name.split(".")]
        if not equals or not all(parts):
            raise ParamsInvalid(f"a parameter is given as name=value, not {line!r}")
        nested: Any = _value(value.strip())
        for part in reversed(parts):
            nested = {part: nested}
        found = _merged(found, nested)
    return found


def _value(text: str) -> Any:
    try:
        found = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return found["value"] if len(found) == 1 else text


def _merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for name, value in changes.items():
        before = merged.get(name)
        nested = isinstance(before, Mapping) and isinstance(value, Mapping)
        merged[name] = _merged(before or {}, value) if nested else value
    return merged


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "it has none"
