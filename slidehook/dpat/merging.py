"""Stored results as JSON: what one user changed is put on a newer version, and what others keep in it stays.

Everything here works on results as DPAT answers them, so that fields which nobody here knows survive.
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
"""To how many decimals two places are the same: of a slide's width that is 0.01 pixel, whatever writes the number."""


def merged(base: Mapping[str, Any], users: Mapping[str, Any], newest: Mapping[str, Any]) -> dict[str, Any]:
    """Give `newest` with what the user changed between `base` and `users`: a three-way merge.

    Fields that `users` lacks, or has as null, are unchanged. Where both changed the same thing, the user's change
    is taken. The patches of a gallery are told apart by their place, so moves of different patches are all kept.
    """
    versions = [dict(each) for each in (base, users, newest)]
    galleries = [each for each in map(_gallery, versions) if each is not None]
    tags = [each.get("tags") for each in galleries]
    renumbered = len(tags) == len(versions) and any(each != tags[0] for each in tags)
    if renumbered:
        versions = copy.deepcopy(versions)
        for content in map(_gallery, versions):
            _name_tags(content or {})
    result: dict[str, Any] = _merged(*versions)
    if renumbered:
        _number_tags(_gallery(result) or {})
    return result


def laid_over(stored: Mapping[str, Any], ours: Mapping[str, Any]) -> dict[str, Any]:
    """Give a changed result of ours with all that the stored one holds beside our own fields, in its shapes too."""
    found = merge_preserved(stored, ours)
    before, after = _shown(stored), _shown(ours)
    if before is not None and after is not None and before.get("type") == after.get("type"):
        old, new = before.get("content"), after.get("content")
        if isinstance(old, dict) and isinstance(new, list):  # a single item
            old = [old]
        found["data"]["result"] = {**before, **after, "content": _over(old, new)}
    return found


def same_kind(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Say whether two versions are of one analysis and show the same kind of thing, so that they can be merged."""
    return _kind(one) == _kind(other)


def _kind(result: Mapping[str, Any]) -> tuple[object, ...]:
    data, shown, rows = result.get("data"), _shown(result), result.get("displayProperties")
    context = data.get("context") if isinstance(data, dict) else None
    job_id = context.get(JOB_MARK) if isinstance(context, dict) else None
    in_progress = isinstance(rows, dict) and STATUS in rows and rows.keys() <= {STATUS, PROGRESS}
    return job_id, shown and shown.get("type"), in_progress


def _merged(base: Any, users: Any, newest: Any) -> Any:
    if users in (base, newest):
        return newest
    if isinstance(users, dict) and isinstance(newest, dict):
        known = base if isinstance(base, dict) else {}
        found = dict(newest)
        for name, value in users.items():
            before, now = known.get(name, MISSING), newest.get(name, MISSING)
            if (now is MISSING and value == before) or (now is not MISSING and value is None):
                continue  # somebody else removed it, or it was not sent
            found[name] = value if now is MISSING else _merged(before, value, now)
        return found
    if isinstance(users, list) and isinstance(newest, list):
        return _merged_lists(base if isinstance(base, list) else [], users, newest)
    return users


def _merged_lists(base: list[Any], users: list[Any], newest: list[Any]) -> list[Any]:
    """Merge lists as sets of things: what the user added is added, what they removed goes, the rest is as newest."""
    before, theirs, now = _keyed(base), _keyed(users), _keyed(newest)
    found = []
    for key, value in now.items():
        if key in theirs:
            found.append(_merged(before.get(key, MISSING), theirs[key], value))
        elif key not in before:
            found.append(value)
    return found + [value for key, value in theirs.items() if key not in now and key not in before]


def _over(old: Any, new: Any) -> Any:
    if old == new:
        return new  # where the old one has 2.0 for 2, ours is right
    if isinstance(old, dict) and isinstance(new, dict):
        return {**old, **{name: _over(old.get(name), value) for name, value in new.items()}}
    if isinstance(old, list) and isinstance(new, list):
        known = _keyed(old)
        return [_over(known.get(key), value) for key, value in _keyed(new).items()]
    return new


def _keyed(values: Sequence[Any]) -> dict[tuple[str, int], Any]:
    """Give the things of a list by what tells them apart; equal ones are numbered."""
    seen: Counter[str] = Counter()
    found = {}
    for value in values:
        name = _name(value)
        found[name, seen[name]] = value
        seen[name] += 1
    return found


def _name(value: Any) -> str:
    """Name a thing by what stays when a user changes it: a patch by its place, a button by its id."""
    if isinstance(value, dict):
        for told in ("position", "id", "points", "location", "name", "style"):
            if value.get(told) is not None:
                return f"{told} {json.dumps(_rough(value[told]), sort_keys=True)}"
        if "polygons" in value or "polylines" in value or "labels" in value:
            return "style"  # shapes without one
    return json.dumps(_rough(value), sort_keys=True)


def _rough(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rough(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_rough(each) for each in value]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return round(float(value), DIGITS)
    return value


def _shown(result: Mapping[str, Any]) -> dict[str, Any] | None:
    """Give what a result shows, if it says so in the usual place."""
    data = result.get("data")
    shown = data.get("result") if isinstance(data, dict) else None
    return shown if isinstance(shown, dict) else None


def _gallery(result: Mapping[str, Any]) -> dict[str, Any] | None:
    shown = _shown(result)
    content = shown.get("content") if shown is not None and shown.get("type") == "patchCollection" else None
    return content if isinstance(content, dict) else None


def _name_tags(content: dict[str, Any]) -> None:
    """Have patches name their tags, which may stand at another place of another version's list."""
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
