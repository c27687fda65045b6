"""Some thousand corrupted bodies: each is refused with a clear message, and nothing is queued."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs
from werkzeug.test import TestResponse

from slidehook.jobs.files.source import FileSource
from tests.webserver.site import SQUARE, Site

RAW = "\u0001raw:"
"""The prefix of a text that stands for raw JSON which no Python value serializes to."""
STORED: dict[str, Any] = {
    "id": 1,
    "versionId": "v1",
    "slideId": "S-1",
    "displayResult": "12 %",
    "displayProperties": {"Area": 1.5, "Note": "x"},
    "applicationVersion": "1.0",
    "attachments": [{"name": "a.csv", "state": "stored"}],
    "data": {
        "context": {"mode": "fast"},
        "result": {
            "type": "primitive",
            "content": [{"style": {"strokeStyle": "#FF0000", "size": 2}, "polygons": [{"points": SQUARE}]}],
        },
    },
}
GALLERY: dict[str, Any] = STORED | {
    "data": {
        "context": {},
        "result": {
            "type": "patchCollection",
            "content": {
                "description": "cells",
                "patches": [{"tag": 0, "position": {"x": 0.1, "y": 0.2}, "sortKeyValue": 1.0}],
                "tags": ["tumour", "stroma"],
                "patchSize": 64,
                "magnification": 20,
                "statuses": {"allowVerify": {"value": 1, "message": "go on"}},
                "actions": [{"id": "again", "state": 1, "name": "Again", "tooltip": "once more"}],
            },
        },
    }
}
IMAGE: dict[str, Any] = {
    "id": "S-1",
    "isStreamable": True,
    "imageSize": {"width": 2000, "height": 1000},
    "tileSize": {"width": 256, "height": 256},
    "micronsPerPixel": 0.25,
    "focalPlanes": [{"id": 0, "offsetUm": 0}],
    "opticalPaths": [{"id": "A", "description": "bright"}],
    "storedTileFormat": {"mimeType": "image/jpeg", "extension": "jpg"},
    "staining": {"displayName": "HE"},
    "block": {"displayName": "A1"},
    "specimen": {"anatomy": "skin"},
    "priority": 3,
    "qualityControl": {"status": "NotSet", "versionId": 1},
}
TAGGED = {"polygon": {"points": SQUARE}, "tags": ["tumour", "stroma"], "tagIndex": 0}
CALLS: dict[str, tuple[str, dict[str, Any]]] = {
    "create": ("/apps/tissue-area", {"action": "create", "input": {"type": "wholeSlide"}}),
    "tagged": ("/apps/tagged", {"action": "create", "input": {"type": "taggedPolygon", "content": TAGGED}}),
    "areas": (
        "/apps/areas",
        {"action": "create", "input": {"type": "multiArea", "content": {"polygons": [{"points": SQUARE}]}}},
    ),
    "modify": ("/apps/tissue-area", {"action": "modify", "input": STORED}),
    "gallery": ("/apps/tissue-area", {"action": "modify", "input": GALLERY}),
    "delete": ("/apps/tissue-area", {"action": "delete", "input": STORED}),
    "cancel": ("/apps/tissue-area", {"action": "cancel"}),
    "notification": ("/apps/tissue-area/imagenotification", {"action": None, "input": None, "imageInfo": IMAGE}),
    "new notification": (
        "/apps/tissue-area/imagenotification",
        {"action": "newImageFiles", "input": {"type": "wholeSlide"}, "imageInfo": IMAGE},
    ),
}
PATHLIKE = [
    "../../etc/passwd",
    "..\\..\\windows",
    "/etc/passwd",
    ".",
    "..",
    "a/b",
    "a/../b",
    "%2e%2e%2f",
    "a?b#c",
    "a\u0000b",
    "\u0000",
    "~",
    "CON",
    "a b",
    " ",
    "\r\nX-Evil: 1",
    "\u202e\u2066",
    "ä\u0308\U0001f52c",
    "S" * 512,
    "S" * 10_000,
    "{}",
    "$(id)",
    "'; --",
]
NUMBERS = [
    "NaN",
    "Infinity",
    "-Infinity",
    "1e400",
    "-1e400",
    "1e-400",
    "-0",
    "9" * 400,
    "9" * 5000,
    "01",
    "0x10",
    "1.",
]
TEXTS = [
    '"\\ud800"',
    '"\\udc00x"',
    '"\\u0000"',
    '"\\x41"',
    '"a',
    "'a'",
    '"\t"',
    "undefined",
    "None",
    "\u00ff",
    "\ufeff1",
]
DEEP = [
    "[" * 150 + "]" * 150,
    "[" * 5000 + "]" * 5000,
    "[" * 5000,
    '{"a":' * 3000 + "1" + "}" * 3000,
    '{"a":1,"a":2}',
]
VALUES: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from(
        [None, True, False, 0, -1, 1.5, 2**63, -(2**70), "", [], {}, [None], {"": None}, [[]], "x" * 5000]
    ),
    st.sampled_from(PATHLIKE),
    st.sampled_from([RAW + each for each in (*NUMBERS, *TEXTS, *DEEP)]),
    st.text(max_size=20),
    st.integers(),
    st.floats(),
    st.recursive(
        st.none() | st.booleans() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3), max_leaves=5
    ),
)
HEADERS = st.sampled_from(
    [
        {},
        {"Content-Type": "application/json"},
        {"Content-Type": "text/plain; charset=utf-16"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "multipart/form-data; boundary=x"},
        {"Content-Type": "application/json; charset=\u00ff"},
        {"Content-Encoding": "gzip"},
        {"Content-Encoding": "identity"},
        {"Content-Encoding": "gzip, gzip, br"},
    ]
)
QUICK = settings(
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


def places(value: Any) -> list[tuple[Any, ...]]:
    """Yield the path of each value in a body."""
    inside: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        inside = list(value.items())
    elif isinstance(value, list):
        inside = list(enumerate(value))
    return [(), *((key, *way) for key, each in inside for way in places(each))]


def put(value: Any, way: tuple[Any, ...], new: Any) -> Any:
    """Return a body with another value at a path; Ellipsis removes it."""
    if not way:
        return new
    copy = value.copy()
    if len(way) == 1 and new is ...:
        del copy[way[0]]
    else:
        copy[way[0]] = put(copy[way[0]], way[1:], new)
    return copy


def written(body: Any) -> bytes:
    """Serialize a body as JSON, possibly invalid JSON."""
    text = json.dumps(body)
    raw = re.compile(re.escape(json.dumps(RAW)[:-1]) + r'((?:[^"\\]|\\.)*)"')
    return raw.sub(lambda match: json.loads(f'"{match[1]}"'), text).encode("utf-8", "surrogatepass")


@st.composite
def spoiled(draw: st.DrawFn, kind: str) -> bytes:
    """Return a body in which one or two values are replaced or missing, or bytes are corrupted."""
    body: Any = CALLS[kind][1] | {
        "applicationId": CALLS[kind][0].split("/")[2],
        "slideId": "S-1",
        "callbackInfo": {"url": "https://dpat.evil/v1", "token": "the-secret-token"},
        "context": {"mode": "fast"},
        "cancellationToken": "the-cancellation",
    }
    for _ in range(draw(st.integers(0, 2))):
        way = draw(st.sampled_from(places(body)))
        body = put(body, way, draw(st.just(...) | VALUES if way else VALUES))
    content = written(body)
    match draw(st.integers(0, 9)):
        case 0:
            return content[: draw(st.integers(0, len(content)))]
        case 1:
            at = draw(st.integers(0, len(content)))
            return content[:at] + draw(st.binary(max_size=4)) + content[at:]
        case 2:
            name = draw(st.sampled_from([b"slideId", b"action", b"callbackInfo", b"input"]))
            return content[:-1] + b',"' + name + b'":' + written(draw(VALUES)) + b"}"
        case 3:
            return content.decode("utf-8", "replace").encode(draw(st.sampled_from(["utf-16", "utf-32", "utf-8-sig"])))
    return content


def refusal(answer: TestResponse) -> str:
    """Check that a refusal is one sentence of ours, and return it."""
    assert list(answer.json or {}) == ["error"], answer.text
    text: str = (answer.json or {})["error"]
    assert text.endswith(".")
    assert len(text) < 500
    for each in ("Traceback", 'File "', "the-secret-token", "pydantic", "object at 0x"):
        assert each not in text
    return text


@pytest.mark.parametrize("kind", CALLS)
def test_a_corrupted_request_is_refused_and_queues_nothing(make_site: Callable[..., Site], kind: str) -> None:
    site = make_site(dpat_urls="https://dpat.example/v1")
    path = CALLS[kind][0]
    waiting, active = (site.queue.layout.root / name for name in ("waiting", "active"))

    @settings(QUICK, max_examples=300)
    @given(body=spoiled(kind), headers=HEADERS)
    def knock(body: bytes, headers: dict[str, str]) -> None:
        answer = site.web.post(path, data=body, headers=headers)
        assert answer.status_code in {400, 403, 413, 415}, answer.text
        refusal(answer)
        assert not [*waiting.iterdir(), *active.iterdir()]

    with capture_logs() as logged:
        knock()
    assert {each["log_level"] for each in logged} == {"warning"}
    assert all("the-secret-token" not in str(each) for each in logged)
    assert not site.files()
    assert not site.dpat.calls


@pytest.mark.parametrize("kind", CALLS)
def test_a_corrupted_request_with_a_valid_callback_causes_no_internal_error(site: Site, kind: str) -> None:
    path = CALLS[kind][0]
    callback = json.dumps(site.dpat.url).encode()

    @settings(QUICK, max_examples=60)
    @given(body=spoiled(kind))
    def knock(body: bytes) -> None:
        answer = site.web.post(path, data=body.replace(b'"https://dpat.evil/v1"', callback))
        assert answer.status_code in {200, 400, 403, 413, 502}, answer.text
        if answer.status_code != 200:
            refusal(answer)
        if answer.status_code == 502:
            assert "DPAT answered 4" in answer.text  # for example to an unknown result id

    with capture_logs() as logged:
        knock()
    assert [each for each in logged if each["log_level"] not in {"info", "warning"}] == []
    assert jobs_can_be_read(site)


def jobs_can_be_read(site: Site) -> bool:
    """Claim, and thereby parse, all queued jobs; return whether none was damaged."""
    source = FileSource(site.queue, max_attempts=3)
    for _ in iter(source.claim, None):
        pass
    source.close()
    return not list((site.queue.layout.root / "damaged").iterdir())


@pytest.mark.parametrize("raw", [*NUMBERS, *TEXTS, *DEEP])
@pytest.mark.parametrize("kind", ["create", "modify", "notification"])
def test_any_context_is_refused_or_reaches_dpat_and_the_job(site: Site, kind: str, raw: str) -> None:
    site.dpat.results[1] = dict(STORED)
    path, changes = CALLS[kind]
    context = {"a": RAW + raw}
    if kind == "modify":
        changes = {"action": "modify", "input": put(STORED, ("data", "context"), context)}
    answer = site.post(path, body=written(site.body(**{**changes, "context": context})))
    assert answer.status_code in {200, 400}, answer.text
    if answer.status_code == 400:
        refusal(answer)
        assert not site.files()
        assert not site.dpat.calls
    else:
        assert jobs_can_be_read(site)


@pytest.mark.parametrize("slide_id", PATHLIKE)
@pytest.mark.parametrize("kind", ["create", "notification"])
def test_a_slide_id_is_one_url_segment_and_never_a_file_name(site: Site, kind: str, slide_id: str) -> None:
    path, changes = CALLS[kind]
    answer = site.post(path, **changes, slideId=slide_id)
    if len(slide_id) > 512 or slide_id in {".", ".."}:
        assert answer.status_code == 400
        refusal(answer)
        assert not site.files()
        assert not site.dpat.calls
        return
    assert answer.status_code == 200, answer.text
    asked = {call.path for call in site.dpat.calls if "slide" in call.path.rpartition("results")[2]}
    assert asked
    for each in asked:
        assert each.count("/") == (3 if each.startswith("/slides/") else 5)
        assert ".." not in each.split("/")
    (job,) = site.jobs()
    assert job.slide_id == slide_id
    names = [each.name for each in site.queue.layout.root.rglob("*")]
    assert all(re.fullmatch(r"[A-Za-z0-9.-]+", name) for name in names), names
