from __future__ import annotations

import select
import time
from pathlib import Path

import pytest
import requests

from slidehook.simulator.errors import Malformed
from slidehook.simulator.faults import Fault, Faults
from slidehook.simulator.server import Simulator
from tests.simulator.conftest import Caller
from tests.simulator.test_iaapi_slides import read_multipart
from tests.simulator.tiny_app import TinyApp, result

FILES = "/slides/immuno/files"


def test_the_first_rule_with_uses_left_wins() -> None:
    faults = Faults()
    faults.add(Fault("/files$", "status", count=2))
    faults.add(Fault("/slides/", "close", method="GET"))
    kinds = [fault and fault.kind for fault in (faults.take("GET", "/slides/a/files") for _ in range(4))]
    assert kinds == ["status", "status", "close", None]
    assert faults.all() == []


def test_an_invalid_rule_is_refused() -> None:
    for path, count in (("(", 1), ("x", 0)):
        with pytest.raises(Malformed):
            Fault(path, "close", count=count)


def test_status_sends_its_headers_and_is_used_up(api: Caller, sim: Simulator) -> None:
    sim.add_fault("/info$", "status", status=429, headers={"Retry-After": "7"}, method="GET")
    answer = api.get("/info")
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "7")
    assert api.get("/info").status_code == 200


def test_close_ends_the_connection_before_any_answer(api: Caller, sim: Simulator, tiny: TinyApp) -> None:
    sim.add_fault("/results$", "close")
    with pytest.raises(requests.ConnectionError):
        api.post("/applications/tiny/results", json=result())
    assert sim.results() == []
    assert sim.calls()[-1].status is None
    assert api.get("/info").status_code == 200


@pytest.mark.parametrize("slide", ["immuno", "immuno-dicom"])
@pytest.mark.parametrize("after", [0, 1000, 300_000])
def test_cut_sends_less_than_the_stated_length(api: Caller, sim: Simulator, slide: str, after: int) -> None:
    sim.add_fault("/files$", "cut", after_bytes=after)
    with api.get(f"/slides/{slide}/files", stream=True) as answer:
        assert int(answer.headers["Content-Length"]) > after
        assert read_until_broken(answer) == after
    assert api.get("/info").status_code == 200


def read_until_broken(answer: requests.Response) -> int:
    size = 0
    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):  # noqa: PT012
        for chunk in answer.iter_content(100):
            size += len(chunk)
    return size


def test_a_call_with_a_cut_answer_is_executed(api: Caller, sim: Simulator, tiny: TinyApp) -> None:
    sim.add_fault("/results$", "cut", method="POST")
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        api.post("/applications/tiny/results", json=result())
    assert len(sim.results()) == 1


def test_stall_delays_the_rest(api: Caller, sim: Simulator) -> None:
    sim.add_fault("/files$", "stall", after_bytes=1000, seconds=60)
    with api.get(FILES, stream=True) as answer:
        assert len(answer.raw.read(1000)) == 1000
        more, _, _ = select.select([answer.raw], [], [], 0.3)
        assert not more


def test_a_short_stall_is_survived(api: Caller, sim: Simulator, sample_slides: Path) -> None:
    sim.add_fault("/files$", "stall", after_bytes=1000, seconds=0.05)
    assert api.get(FILES).content == (sample_slides / "immuno.tiff").read_bytes()


def test_delay_finally_answers_normally(api: Caller, sim: Simulator) -> None:
    sim.add_fault("/info$", "delay", seconds=0.15)
    started = time.perf_counter()
    assert api.get("/info").json()["apiVersion"] == "1.10"
    assert time.perf_counter() - started > 0.14


def test_html_looks_like_success(api: Caller, sim: Simulator) -> None:
    sim.add_fault("/info$", "html")
    answer = api.get("/info")
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")


def test_short_is_well_formed_but_truncated(api: Caller, sim: Simulator, sample_slides: Path) -> None:
    sim.add_fault("/files$", "short", count=2, after_bytes=500)
    assert api.get(FILES).content == (sample_slides / "immuno.tiff").read_bytes()[:500]
    parts = read_multipart(api.get("/slides/immuno-dicom/files"))
    assert len(parts["level-2.dcm"]) == 500
    assert len(parts["level-0.dcm"]) == (sample_slides / "immuno-dicom" / "level-0.dcm").stat().st_size


def test_short_halves_other_answers(api: Caller, sim: Simulator) -> None:
    whole = api.get("/images/immuno_files/13/9_9.jpg").content
    sim.add_fault("/images/", "short")
    assert api.get("/images/immuno_files/13/9_9.jpg").content == whole[: len(whole) // 2]


def test_headers_replace_or_remove_an_answers_own(api: Caller, sim: Simulator) -> None:
    sim.add_fault("/info$", "headers", headers={"x-sectra-apiversion": "", "X-Sectra-SoftwareVersion": "9.9"})
    answer = api.get("/info")
    assert answer.json()["apiVersion"] == "1.10"
    assert "X-Sectra-ApiVersion" not in answer.headers
    assert answer.headers["X-Sectra-SoftwareVersion"] == "9.9"
    assert api.get("/info").headers["X-Sectra-ApiVersion"] == "1.10"


def test_parts_of_one_file_changes_its_name(api: Caller, sim: Simulator, sample_slides: Path) -> None:
    sim.add_fault("/files$", "parts", dispositions=['attachment; filename="../../x"'])
    sim.add_fault("/files$", "parts", dispositions=[""])
    named, bare = api.get(FILES), api.get(FILES)
    assert named.headers["Content-Disposition"] == 'attachment; filename="../../x"'
    assert "Content-Disposition" not in bare.headers
    assert named.content == bare.content == (sample_slides / "immuno.tiff").read_bytes()


def test_parts_changes_the_names_of_several_files_and_the_boundary(api: Caller, sim: Simulator) -> None:
    names = ["attachment; filename=a", "attachment; filename=a", ""]
    sim.add_fault("/files$", "parts", dispositions=names, boundary="=_(a b)_=")
    answer = api.get("/slides/immuno-dicom/files")
    assert answer.headers["Content-Type"] == 'multipart/related; boundary="=_(a b)_="'
    heads = [part.partition(b"\r\n\r\n")[0] for part in answer.content.split(b"--=_(a b)_=")[1:-1]]
    assert [b"filename=a" in head for head in heads] == [True, True, False, False]
    assert [b"Content-Disposition" in head for head in heads] == [True, True, False, True]
    assert b'filename="level-2.dcm"' in heads[3]


def test_a_fault_can_be_added_over_http(sim: Simulator) -> None:
    rule = {"path": "/files$", "kind": "parts", "dispositions": ["attachment"], "boundary": "b"}
    assert requests.post(f"{sim.url}/sim/faults", json=rule, timeout=60).status_code == 201
    (fault,) = sim.faults()
    assert (fault.dispositions, fault.boundary) == (("attachment",), "b")


def test_calls_are_logged(api: Caller, sim: Simulator, sample_slides: Path) -> None:
    api.get("/slides/immuno/info?includePHI=true")
    api.get(FILES)
    first, second = sim.calls()
    assert (first.method, first.query, first.status) == ("GET", "includePHI=true", 200)
    assert first.path.endswith("/v1/slides/immuno/info")
    assert second.bytes_sent == (sample_slides / "immuno.tiff").stat().st_size
    sim.clear_calls()
    assert sim.calls() == []
