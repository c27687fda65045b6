"""What one user changed of a result, on the version that another has stored meanwhile."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slidehook.dpat.iaapi.preserved_fields import merge_preserved
from slidehook.dpat.merging import can_merge, overlay_our_fields, three_way_merge

GALLERY: dict[str, Any] = {
    "id": 1,
    "versionId": "v1",
    "displayResult": "50 %",
    "displayProperties": {"Positive (%)": 50, "Status": "ok"},
    "newer": {"a": [1, {"b": None}]},
    "data": {
        "context": {"slidehookJob": "j"},
        "result": {
            "type": "patchCollection",
            "content": {
                "tags": ["positive", "negative"],
                "patches": [{"tag": 0, "position": {"x": n / 7, "y": 0.25}, "newer": n} for n in range(4)],
                "actions": [{"id": "recount", "state": 0}, {"id": "other", "state": 0}],
                "newer": 1,
            },
        },
    },
}


def content(result: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = result["data"]["result"]["content"]
    return found


def moved(*numbers: int, to: int = 1) -> dict[str, Any]:
    result = copy.deepcopy(GALLERY)
    for number in numbers:
        content(result)["patches"][number]["tag"] = to
    return result


def tags(result: dict[str, Any]) -> list[str]:
    return [content(result)["tags"][each["tag"]] for each in content(result)["patches"]]


def test_the_moves_of_both_users_are_kept_and_so_is_what_the_app_said_last() -> None:
    newest = moved(0) | {"versionId": "v2", "displayResult": "25 %", "newest": 1}
    found = three_way_merge(GALLERY, moved(2), newest)
    assert tags(found) == ["negative", "positive", "negative", "positive"]
    assert (found["displayResult"], found["versionId"], found["newest"]) == ("25 %", "v2", 1)


def test_of_two_moves_of_one_patch_the_users_own_is_taken() -> None:
    base = moved(0)
    assert tags(three_way_merge(base, moved(0, to=0), moved(0, 1)))[:2] == ["positive", "negative"]


def test_a_pressed_button_is_pressed_on_the_newest() -> None:
    users = copy.deepcopy(GALLERY)
    content(users)["actions"][0]["state"] = 1
    found = three_way_merge(GALLERY, users, moved(1))
    assert [each["state"] for each in content(found)["actions"]] == [1, 0]
    assert tags(found)[1] == "negative"


def test_patches_are_told_apart_by_their_place_whatever_their_order_and_the_tags_are() -> None:
    newest = copy.deepcopy(GALLERY)
    content(newest)["tags"] = ["artefact", "negative", "positive"]
    content(newest)["patches"] = [{**each, "tag": 2} for each in reversed(content(GALLERY)["patches"])][:3]
    found = three_way_merge(GALLERY, moved(3, 0), newest)
    assert tags(found) == ["negative", "positive", "positive"]
    assert [each["newer"] for each in content(found)["patches"]] == [3, 2, 1]


def test_a_place_written_with_fewer_digits_is_the_same_place() -> None:
    users = moved(2)
    for each in content(users)["patches"]:
        each["position"]["x"] = round(each["position"]["x"], 12)
    assert tags(three_way_merge(GALLERY, users, moved(0))) == ["negative", "positive", "negative", "positive"]


def square(x: float) -> dict[str, Any]:
    return {"points": [{"x": x, "y": 0}, {"x": x + 0.1, "y": 0}, {"x": x, "y": 0.1}]}


def shapes(*lines: dict[str, Any]) -> dict[str, Any]:
    item = {"style": {"strokeStyle": "#112233"}, "polygons": list(lines), "newer": 1}
    return {"data": {"result": {"type": "primitive", "content": [item]}}}


def test_shapes_that_either_user_added_or_removed_are_so() -> None:
    base = shapes(square(0), square(0.2), square(0.4))
    users, newest = shapes(square(0.2), square(0.4), square(0.6)), shapes(square(0), square(0.2), square(0.8))
    found = three_way_merge(base, users, newest)
    assert found == shapes(square(0.2), square(0.8), square(0.6))


def test_fields_that_the_user_did_not_send_are_as_they_were() -> None:
    users = moved(1)
    del users["newer"], content(users)["newer"], content(users)["patches"][0]["newer"]
    assert three_way_merge(GALLERY, users, GALLERY) == moved(1)


values = st.recursive(
    st.none() | st.booleans() | st.integers(0, 3) | st.text("ab", max_size=2),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "a", "tag"]), inner, max_size=3)
    ),
    max_leaves=8,
)
results = st.dictionaries(st.sampled_from(["a", "b", "data"]), values, max_size=3)


@given(results, results)
def test_what_the_user_left_alone_is_as_the_newest_has_it(base: dict[str, Any], newest: dict[str, Any]) -> None:
    assert three_way_merge(base, base, newest) == newest


@given(results, results, results)
def test_any_results_can_be_merged(base: dict[str, Any], users: dict[str, Any], newest: dict[str, Any]) -> None:
    before = copy.deepcopy((base, users, newest))
    three_way_merge(base, users, newest)
    assert (base, users, newest) == before


def test_our_fields_are_laid_over_what_others_keep() -> None:
    ours = {
        "displayProperties": {"Positive (%)": 75},
        "data": {
            "context": {},
            "result": {
                "type": "patchCollection",
                "content": {
                    "tags": ["positive", "negative"],
                    "patches": [{"tag": 1, "position": {"x": 2 / 7, "y": 0.25}}],
                },
            },
        },
    }
    found = overlay_our_fields(GALLERY, ours)
    assert content(found)["patches"] == [{"tag": 1, "position": {"x": 2 / 7, "y": 0.25}, "newer": 2}]
    assert (content(found)["newer"], found["newer"]) == (1, GALLERY["newer"])
    assert found["displayProperties"] == {"Positive (%)": 75}


@pytest.mark.parametrize("odd", [{}, {"data": None}, {"data": {"result": 3}}, {"attachments": None, "data": []}])
def test_a_stored_result_of_any_shape_can_be_replaced(odd: dict[str, Any]) -> None:
    ours = {"displayResult": "x", "data": {"context": {}, "result": {"type": "primitive", "content": []}}}
    assert merge_preserved(odd, ours) == {**odd, **ours}
    assert overlay_our_fields(odd, ours)["data"] == ours["data"]


def test_another_analysis_is_of_another_kind() -> None:
    other = copy.deepcopy(GALLERY)
    other["data"]["context"] = {"slidehookJob": "k"}
    queued = GALLERY | {"displayProperties": {"Status": "queued", "Progress (%)": 0}}
    assert can_merge(GALLERY, moved(1))
    assert not can_merge(GALLERY, other)
    assert not can_merge(GALLERY, queued)
    assert not can_merge(GALLERY, GALLERY | {"data": {**GALLERY["data"], "result": {"type": "primitive"}}})
