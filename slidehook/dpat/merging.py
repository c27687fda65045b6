"""Merges stored results as JSON: a user's change is applied to a newer version, and foreign fields are preserved.

All functions work on results exactly as DPAT returned them, so that unknown fields survive.
"""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from slidehook.dpat.iaapi.preserved_fields import merge_preserved
from slidehook.dpat.marks import JOB_MARK, PROGRESS, STATUS

MISSING = object()
DIGITS = 7
"""The decimals to which two coordinates are compared: about 0.01 pixel of a slide's width."""


def three_way_merge(base: Mapping[str, Any], users: Mapping[str, Any], newest: Mapping[str, Any]) -> dict[str, Any]:
    """Return `newest` with the user's changes between `base` and `users` applied: a three-way merge.

    Fields that are missing or null in `users` count as unchanged. If both sides changed the same field, the user's
    change wins. The patches of a gallery are identified by their position, so moves of different patches are kept.
    """
    versions = [dict(each) for each in (base, users, newest)]
    galleries = [each for each in map(_gallery, versions) if each is not None]
    tags = [each.get("tags") for each in galleries]
    renumbered = len(tags) == len(versions) and any(each != tags[0] for each in tags)
    if renumbered:
        versions = copy.deepcopy(versions)
        for content in map(_gallery, versions):
            _name_tags(content or {})
    result: dict[str, Any] = _merge(*versions)
    if renumbered:
        _number_tags(_gallery(result) or {})
    return result


def overlay_our_fields(stored: Mapping[str, Any], ours: Mapping[str, Any]) -> dict[str, Any]:
    """Return our changed result with all foreign fields of the stored one, including those of its shapes."""
    combined = merge_preserved(stored, ours)
    before, after = _shown(stored), _shown(ours)
    if before is not None and after is not None and before.get("type") == after.get("type"):
        old, new = before.get("content"), after.get("content")
        if isinstance(old, dict) and isinstance(new, list):  # a single item
            old = [old]
        combined["data"]["result"] = {**before, **after, "content": _overlay(old, new)}
    return combined


def can_merge(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two versions come from one analysis and have the same kind of content, so that they can be merged."""
    return _kind(one) == _kind(other)


def _kind(result: Mapping[str, Any]) -> tuple[object, ...]:
    data, shown, rows = result.get("data"), _shown(result), result.get("displayProperties")
    context = data.get("context") if isinstance(data, dict) else None
    job_id = context.get(JOB_MARK) if isinstance(context, dict) else None
    in_progress = isinstance(rows, dict) and STATUS in rows and rows.keys() <= {STATUS, PROGRESS}
    return job_id, shown and shown.get("type"), in_progress


def _merge(base: Any, users: Any, newest: Any) -> Any:
    if users in (base, newest):
        return newest
    if isinstance(users, dict) and isinstance(newest, dict):
        known = base if isinstance(base, dict) else {}
        found = dict(newest)
        for name, value in users.items():
            before, now = known.get(name, MISSING), newest.get(name, MISSING)
            if (now is MISSING and value == before) or (now is not MISSING and value is None):
                continue  # somebody else removed it, or it was not sent
            found[name] = value if now is MISSING else _merge(before, value, now)
        return found
    if isinstance(users, list) and isinstance(newest, list):
        return _merge_lists(base if isinstance(base, list) else [], users, newest)
    return users


def _merge_lists(base: list[Any], users: list[Any], newest: list[Any]) -> list[Any]:
    """Merge lists as sets: add the user's additions, apply their removals, and otherwise keep `newest`."""
    before, theirs, now = _keyed(base), _keyed(users), _keyed(newest)
    found = []
    for key, value in now.items():
        if key in theirs:
            found.append(_merge(before.get(key, MISSING), theirs[key], value))
        elif key not in before:
            found.append(value)
    return found + [value for key, value in theirs.items() if key not in now and key not in before]


def _overlay(old: Any, new: Any) -> Any:
    if old == new:
        return new  # ours wins if the numbers differ only in type, as 2 and 2.0
    if isinstance(old, dict) and isinstance(new, dict):
        return {**old, **{name: _overlay(old.get(name), value) for name, value in new.items()}}
    if isinstance(old, list) and isinstance(new, list):
        known = _keyed(old)
        return [_overlay(known.get(key), value) for key, value in _keyed(new).items()]
    return new


def _keyed(values: Sequence[Any]) -> dict[tuple[str, int], Any]:
    """Return the items of a list by identity; equal ones are numbered."""
    seen: Counter[str] = Counter()
    found = {}
    for value in values:
        name = _identity(value)
        found[name, seen[name]] = value
        seen[name] += 1
    return found


def _identity(value: Any) -> str:
    """Return an item's identity, which a user's change preserves: a patch's position, a button's id."""
    if isinstance(value, dict):
        for field in ("position", "id", "points", "location", "name", "style"):
            if value.get(field) is not None:
                return f"{field} {json.dumps(_rounded(value[field]), sort_keys=True)}"
        if "polygons" in value or "polylines" in value or "labels" in value:
            return "style"  # shapes without one
    return json.dumps(_rounded(value), sort_keys=True)


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return round(float(value), DIGITS)
    return value


def _shown(result: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return a result's shapes or gallery, or None."""
    data = result.get("data")
    shown = data.get("result") if isinstance(data, dict) else None
    return shown if isinstance(shown, dict) else None


def _gallery(result: Mapping[str, Any]) -> dict[str, Any] | None:
    shown = _shown(result)
    content = shown.get("content") if shown is not None and shown.get("type") == "patchCollection" else None
    return content if isinstance(content, dict) else None


def _name_tags(content: dict[str, Any]) -> None:
    """Replace patches' tag indices by tag names, because another version's list may have another order."""
    tags = content.get("tags") or []
    for patch in content.get("patches") or []:
        tag = patch.get("tag") if isinstance(patch, dict) else None
        if isinstance(tag, int) and 0 <= tag < len(tags):
            patch["tag"] = tags[tag]


def _number_tags(content: dict[str, Any]) -> None:
    tags = list(content.get("tags") or [])
    for patch in content.get("patches") or []:
        if isinstance(patch, dict) and isinstance(patch.get("tag"), str):
            if patch["tag"] not in tags:
                tags.append(patch["tag"])
            patch["tag"] = tags.index(patch["tag"])
    content["tags"] = tags
