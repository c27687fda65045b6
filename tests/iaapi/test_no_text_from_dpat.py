"""No message about an answer contains text from its body, its headers or its status line."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest
from structlog.testing import capture_logs

from slidehook.dpat.iaapi.client import DpatClient, DpatServer
from slidehook.dpat.iaapi.models import ResultRecord, Stored
from slidehook.errors import SlidehookError
from slidehook.settings import Settings
from tests.iaapi.test_sizes import Send, endless

WORD = "CANARY"
HEADERS = "".join(
    f"{name}: {WORD}\r\n"
    for name in ("Content-Type", "Server", "Via", "WWW-Authenticate", "Location", "Retry-After", "Date", "X-Other")
)
VERSION = f"X-Sectra-ApiVersion: {WORD}\r\n"
SETTINGS = Settings(_env_file=None, read_timeout="5s")
CALLS: dict[str, Callable[[DpatClient, ResultRecord], object]] = {
    "info": lambda client, _: client.slide_info("S"),
    "versions": lambda client, _: client.info(),
    "case": lambda client, _: client.case(WORD),
    "case of": lambda client, _: client.case_of("S"),
    "results": lambda client, _: client.results_on_slide("app", "S"),
    "result": lambda client, _: client.result("app", 7),
    "store": lambda client, record: client.store("app", record),
    "update": lambda client, record: client.update_result("app", record, Stored(id=7, version_id="v1")),
    "label": lambda client, _: client.label("S"),
    "tile": lambda client, _: client.tile("S", 1, 0, 0, "jpg", focal_plane="7", optical_path=WORD, channels=WORD),
    "attachment": lambda client, _: client.attachment("app", 7, WORD),
    "quality": lambda client, _: client.set_quality("S", "Rejected", version_id=WORD, application_version="1"),
    "token": lambda client, _: DpatServer(client._transport.url, SETTINGS).fetch_token("u", "p", "app", tries=1),
}
BODIES = [
    WORD,
    json.dumps(WORD),
    json.dumps({WORD: WORD}),
    json.dumps({"id": [WORD], "versionId": {WORD: 1}, "slideId": WORD, "imageSize": WORD, "tileSize": WORD}),
    json.dumps([{"id": [WORD], WORD: WORD}, WORD]),
    json.dumps({"id": "S", "imageSize": {"width": WORD, "height": 1}, "focalPlanes": [WORD], "staining": WORD}),
    json.dumps({"id": 1, "versionId": 1})[:-1] + f',"{WORD}"',
]


def _sender(content: bytes) -> Callable[[Send], None]:
    return lambda send: send(content)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("status", [200, 302, 400, 401, 403, 404, 407, 409, 500, 503])
def test_no_message_contains_text_from_an_answer(call: str, status: int, record: ResultRecord) -> None:
    said = []
    for text in BODIES if status == 200 else BODIES[:1]:
        head = f"HTTP/1.1 {status} {WORD}\r\n{HEADERS}{VERSION}Content-Length: {len(text)}\r\n\r\n"
        with endless(head, _sender(text.encode())) as url, capture_logs() as logged:
            client = DpatServer(url, SETTINGS).client("the-token")
            try:
                CALLS[call](client, record)
            except SlidehookError as error:
                said.append(str(error))
        said += [repr(each) for each in logged]
    assert said or status == 200
    assert [each for each in said if re.search(WORD, each, re.IGNORECASE)] == []
