from __future__ import annotations

import json
from typing import Any

import pytest

from slidehook.dpat.iaapi.models import (
    Cancel,
    Create,
    Delete,
    DeletedRecord,
    Modify,
    PatchCollection,
    Primitive,
    Stored,
    StoredResult,
    Token,
    parse_invocation,
    parse_notification,
)
from slidehook.errors import BadRequest
from slidehook.models import (
    ImageInfo,
    MultiAreaInput,
    QualityControl,
    QualityControlUpdate,
    TaggedPolygonInput,
    WholeSlideInput,
)

TRIANGLE = [{"x": 0, "y": 0}, {"x": 1, "y": 0}, {"x": 1, "y": 0.5}]
STORED: dict[str, Any] = {
    "id": 7,
    "versionId": "v2",
    "slideId": "S-1",
    "displayResult": "12 %",
    "displayProperties": {"Area": 1.5, "Note": "fine", "Empty": None},
    "applicationVersion": "1.0",
    "data": {
        "context": {"n": None},
        "result": {"type": "primitive", "content": [{"polygons": [{"points": TRIANGLE}]}]},
    },
}


def call(**changes: Any) -> dict[str, Any]:
    """A valid `create`; a field changed to Ellipsis is left out."""
    body = {
        "action": "create",
        "applicationId": "tissue-area",
        "slideId": "S-1",
        "callbackInfo": {"url": "https://dpat/v1", "token": "s3cret-token"},
        "context": {"mode": "fast"},
        "cancellationToken": "s3cret-cancel",
        "input": {"type": "wholeSlide"},
    } | changes
    return {name: value for name, value in body.items() if value is not ...}


def wire(body: Any) -> bytes:
    return json.dumps(body).encode()


@pytest.mark.parametrize(
    ("body", "kind", "input_kind"),
    [
        (call(), Create, WholeSlideInput),
        (
            call(input={"type": "taggedPolygon", "content": {"polygon": {"points": TRIANGLE}, "tags": ["a"]}}),
            Create,
            TaggedPolygonInput,
        ),
        (call(input={"type": "taggedPolygon", "content": {"polygon": {"points": []}}}), Create, TaggedPolygonInput),
        (call(input={"type": "multiArea", "content": {"polygons": [{"points": TRIANGLE}]}}), Create, MultiAreaInput),
        (call(action="modify", input=STORED), Modify, StoredResult),
        (call(action="delete", input=STORED), Delete, DeletedRecord),
    ],
)
def test_every_kind_of_invocation_is_parsed_as_its_own_type(
    body: dict[str, Any], kind: type, input_kind: type
) -> None:
    read = parse_invocation(wire(body))
    assert type(read) is kind
    assert not isinstance(read, Cancel)
    assert type(read.input) is input_kind


@pytest.mark.parametrize("changes", [{"input": ...}, {"input": None}, {"input": {"type": "wholeSlide"}}])
def test_a_cancellation_needs_no_input(changes: dict[str, Any]) -> None:
    read = parse_invocation(wire(call(action="cancel", **changes)))
    assert isinstance(read, Cancel)
    assert read.cancellation_token == "s3cret-cancel"


@pytest.mark.parametrize(
    "changes", [{"context": None, "cancellationToken": None}, {"context": ..., "cancellationToken": ...}]
)
def test_context_and_cancellation_token_may_be_null_or_absent(changes: dict[str, Any]) -> None:
    read = parse_invocation(wire(call(**changes)))
    assert read.context is None
    assert read.cancellation_token is None


@pytest.mark.parametrize(
    "changes", [{"action": ..., "input": ...}, {"action": None, "input": None}, {"action": "newImageFiles"}]
)
def test_notifications_of_old_and_new_servers_are_parsed(changes: dict[str, Any]) -> None:
    read = parse_notification(wire(call(imageInfo={"id": "S-1", "staining": {"displayName": "HE"}}, **changes)))
    assert read.image_info is not None
    assert read.image_info.staining.display_name == "HE"


def test_a_notification_may_lack_its_image_record() -> None:
    assert parse_notification(wire(call(action=..., imageInfo=None))).image_info is None


def test_fields_of_newer_servers_are_dropped() -> None:
    body = call(brandNew={"deep": 1}, input={"type": "wholeSlide", "brandNew": [1]})
    body["callbackInfo"]["brandNew"] = True
    assert parse_invocation(wire(body)) == parse_invocation(wire(call()))


def test_an_image_record_with_only_an_id_is_valid() -> None:
    bare = ImageInfo.model_validate_json(b'{"id": "S-1"}')
    names = [field.alias for field in ImageInfo.model_fields.values() if field.alias != "id"]
    nulls = ImageInfo.model_validate({"id": "S-1"} | dict.fromkeys(str(name) for name in names))
    assert bare == nulls
    assert bare.staining.display_name == ""
    assert bare.block.display_name == ""
    assert bare.image_size is None


def test_a_staining_without_a_name_has_an_empty_one() -> None:
    image = ImageInfo.model_validate({"id": "S-1", "staining": {"displayName": None}, "block": {}})
    assert image.staining.display_name == ""
    assert image.block.display_name == ""


def test_only_identifying_fields_are_removed() -> None:
    phi = {
        "seriesInstanceUid": "1.2", "lisSlideId": "L", "accessionNumber": "A", "accessionNumberIssuer": "I",
        "studyInstanceUid": "1.3", "examId": "E", "examDateTime": "2024", "examFreeFields": ["x"],
    }  # fmt: skip
    harmless = {"id": "S-1", "bodyPart": "COLON", "micronsPerPixel": 0.25}
    image = ImageInfo.model_validate(harmless | phi)
    assert image.to_wire().items() >= phi.items()
    assert image.without_phi() == ImageInfo.model_validate(harmless)


def test_a_single_primitive_item_becomes_a_list_of_one() -> None:
    assert Primitive.model_validate({"content": {"labels": []}}) == Primitive.model_validate({"content": [{}]})


def test_a_null_list_is_empty() -> None:
    item = {"polygons": None, "polylines": None, "labels": None, "style": None}
    assert Primitive.model_validate({"content": [item]}) == Primitive.model_validate({"content": [{}]})
    gallery = {"patches": None, "tags": None, "polygons": None, "actions": None, "statuses": None}
    assert PatchCollection.model_validate({"content": gallery}) == PatchCollection.model_validate({"content": {}})
    stored = StoredResult.model_validate(STORED | {"displayProperties": None, "attachments": None})
    assert stored.display_properties == {}


def test_records_are_serialized_in_camel_case_without_nulls() -> None:
    sent = StoredResult.model_validate(STORED).to_wire()
    assert sent["displayResult"] == "12 %"
    assert sent["versionId"] == "v2"
    assert "attachments" not in sent
    (item,) = sent["data"]["result"]["content"]
    assert "style" not in item
    assert item["polygons"][0]["points"] == TRIANGLE


def test_whole_numbers_and_texts_keep_their_types() -> None:
    properties = {"Answer": 42, "Share": 0.5, "Version": "42"}
    sent = StoredResult.model_validate(STORED | {"displayProperties": properties}).to_wire()["displayProperties"]
    assert [type(each) for each in sent.values()] == [int, float, str]


def test_a_result_keeps_dpats_answer_even_unknown_fields() -> None:
    answer = STORED | {"onlyDpatKnows": 1}
    assert Stored.model_validate(answer).with_answer(answer).answer == answer


def test_the_repr_of_an_invocation_hides_tokens() -> None:
    assert "s3cret" not in repr(parse_invocation(wire(call())))
    assert "s3cret" not in str(parse_notification(wire(call(action=...))))


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (call(slideId=...), "The field 'slideId': field required."),
        (call(slideId=""), "The field 'slideId': string should have at least 1 character."),
        (call(slideId="x" * 513), "The field 'slideId': string should have at most 512 characters."),
        (call(slideId=17), "The field 'slideId': input should be a valid string."),
        (call(applicationId=None), "The field 'applicationId': input should be a valid string."),
        (call(callbackInfo=None), "The field 'callbackInfo': input should be an object."),
        (call(callbackInfo={"url": "https://dpat"}), "The field 'callbackInfo.token': field required."),
        (call(cancellationToken=["a"]), "The field 'cancellationToken': input should be a valid string."),
        (call(action=...), "The field 'action' is missing."),
        (call(action=None), "The field 'action' must be one of 'create', 'modify', 'delete', 'cancel'."),
        (call(action="explode"), "The field 'action' must be one of 'create', 'modify', 'delete', 'cancel'."),
        (call(input={}), "The field 'input.type' is missing."),
        (
            call(input={"type": "circle"}),
            "The field 'input.type' must be one of 'wholeSlide', 'taggedPolygon', 'multiArea'.",
        ),
        (call(input=None), "The field 'input': input should be an object."),
        (call(action="modify"), "The field 'input.slideId': field required."),
        ([], "The body: input should be an object."),
        (None, "The body: input should be an object."),
    ],
)
def test_an_invalid_body_gets_one_sentence_that_names_the_field(body: Any, sentence: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parse_invocation(wire(body))
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"\xff\xfe", b'{"a":NaN', b'{"a":' + b"[" * 5000, b'{"a":' + b"1" * 5000 + b"}", b'{"a":"\\ud800"}'],
)
def test_a_body_that_is_not_json_is_reported_as_such(body: bytes) -> None:
    for parse in (parse_invocation, parse_notification):
        with pytest.raises(BadRequest, match=r"^The body is not valid JSON\.$"):
            parse(body)


@pytest.mark.parametrize("x", ["1e999", '"a"', "null", "[]", "NaN"])
def test_a_coordinate_that_is_not_a_number_is_refused(x: str) -> None:
    text = json.dumps(call(input={"type": "multiArea", "content": {"polygons": [{"points": [{"x": 17, "y": 0}]}]}}))
    with pytest.raises(BadRequest, match=r"input\.content\.polygons\.0\.points\.0\.x"):
        parse_invocation(text.replace("17", x).encode())


@pytest.mark.parametrize("token", ["", "a\r\nX-Evil: 1", "sm\u00f6rg\u00e5s", "two words", "a\n", "x" * 16385])
def test_a_token_with_characters_invalid_in_headers_is_refused(token: str) -> None:
    with pytest.raises(BadRequest, match=r"callbackInfo\.token") as caught:
        parse_invocation(wire(call(callbackInfo={"url": "https://dpat", "token": token})))
    assert not token or token not in str(caught.value)


def test_a_notification_with_another_action_is_refused() -> None:
    with pytest.raises(BadRequest, match="'action'"):
        parse_notification(wire(call(action="create")))


@pytest.mark.parametrize("size", [{"width": 5}, {"width": None, "height": 5}, {}])
def test_a_size_without_width_or_height_is_none(size: dict[str, Any]) -> None:
    image = ImageInfo.model_validate({"id": "S-1", "imageSize": size, "tileSize": size})
    assert (image.image_size, image.tile_size) == (None, None)


def test_planes_and_paths_may_lack_an_id() -> None:
    image = ImageInfo.model_validate({"id": "S-1", "focalPlanes": [{"id": None}], "opticalPaths": [{}]})
    assert image.focal_planes is not None
    assert image.focal_planes[0].id is None


def test_a_token_may_lack_its_lifetime() -> None:
    token = Token.model_validate({"accessToken": "abc", "expiresIn": None, "scope": "new"})
    assert (token.expires_in, token.token_type) == (None, None)


def test_quality_control_is_serialized_as_specified() -> None:
    wanted = QualityControl(status="Rejected", version_id="v7")
    update = QualityControlUpdate(application_version="1.0", quality_control=wanted)
    assert update.to_wire() == {
        "applicationVersion": "1.0",
        "qualityControl": {"status": "Rejected", "versionId": "v7"},
    }
