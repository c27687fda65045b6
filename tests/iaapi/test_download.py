from __future__ import annotations

import gzip
import os
import resource
import stat
import threading
import zlib
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from slidehook.disk import Room
from slidehook.dpat.errors import DownloadIncomplete, DpatTimeout, DpatUnavailable, Malformed
from slidehook.dpat.iaapi.client import DpatClient
from slidehook.dpat.iaapi.download import save_files
from slidehook.dpat.iaapi.multipart import MAX_PARTS
from slidehook.dpat.iaapi.slide_filenames import neutral_names, safe_name
from slidehook.errors import CannotStore, DiskFull, SlidehookError
from tests.iaapi.little_dpat import LittleDpat, Reply

FILES = "/slides/S-1/files"
STREAM = "application/octet-stream"


def named(disposition: str, kind: str = STREAM) -> dict[str, str]:
    return {"Content-Type": kind, "Content-Disposition": disposition}


def multipart(*parts: tuple[str, bytes], kind: str = "related", extra: str = "") -> Reply:
    body = b""
    for disposition, content in parts:
        body += f"--frontier\r\nContent-Disposition: {disposition}\r\n{extra}\r\n".encode() + content + b"\r\n"
    return Reply(body=body + b"--frontier--\r\n", headers={"Content-Type": f'multipart/{kind}; boundary="frontier"'})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "slide"
    made.mkdir()
    return made


def save(client: DpatClient, folder: Path) -> dict[str, bytes]:
    """Download, and return the content of the folder."""
    with client.files("S-1") as response:
        paths = save_files(response, folder, lambda *_: None)
    assert sorted(paths) == sorted(folder.iterdir())
    return {path.name: path.read_bytes() for path in paths}


def refused(client: DpatClient, folder: Path, kind: type[SlidehookError], match: str | None = None) -> None:
    """Check that the download fails and leaves no file that could be taken for a slide's."""
    with pytest.raises(kind, match=match):
        save(client, folder)
    assert all(path.suffix == ".part" for path in folder.iterdir())


def test_a_single_file_gets_its_name_and_mode_0600(dpat: LittleDpat, client: DpatClient, folder: Path) -> None:
    content = bytes(range(256)) * 9000
    dpat.answer("GET", FILES, Reply(body=content, headers=named('attachment; filename="a slide.svs"')))
    assert save(client, folder) == {"a slide.svs": content}
    assert stat.S_IMODE((folder / "a slide.svs").stat().st_mode) == 0o600


def test_progress_reports_the_received_and_the_total_bytes(
    dpat: LittleDpat, client: DpatClient, folder: Path
) -> None:
    dpat.answer("GET", FILES, Reply(body=b"x" * 3_000_000, headers=named("attachment; filename=a.svs")))
    progress: list[tuple[int, int | None]] = []
    with client.files("S-1") as response:
        save_files(response, folder, lambda done, total: progress.append((done, total)))
    assert [done for done, _ in progress] == sorted(done for done, _ in progress)
    assert progress[-1] == (3_000_000, 3_000_000)


@pytest.mark.parametrize("kind", ["related", "form-data", "mixed"])
def test_several_files_keep_the_names_by_which_they_refer_to_each_other(
    dpat: LittleDpat, client: DpatClient, folder: Path, kind: str
) -> None:
    dpat.answer(
        "GET",
        FILES,
        multipart(
            ('form-data; filename="a.mrxs"', b"A"), ('form-data; filename="Data0.dat"', b"\r\n--front"), kind=kind
        ),
    )
    assert save(client, folder) == {"a.mrxs": b"A", "Data0.dat": b"\r\n--front"}
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in folder.iterdir())


def test_a_file_without_a_name_gets_one(dpat: LittleDpat, client: DpatClient, folder: Path) -> None:
    dpat.answer("GET", FILES, Reply(body=b"x", headers={"Content-Type": STREAM}))
    assert save(client, folder) == {"file-1": b"x"}


def packed(coding: str, content: bytes) -> bytes:
    """Compress by each coding in `coding`; unsupported ones change nothing."""
    for each in coding.replace(" ", "").split(","):
        if each in {"gzip", "x-gzip"}:
            content = gzip.compress(content)
        elif each == "deflate":
            content = zlib.compress(content)
    return content


CODINGS = ["gzip", "GZIP", "x-gzip", "deflate", "br", "zstd", "compress", "gzip, gzip", "identity, gzip", "nonsense"]


@pytest.mark.parametrize("share", [1.0, 0.5], ids=["whole", "cut"])
@pytest.mark.parametrize("coding", CODINGS)
def test_a_compressed_slide_is_refused_even_if_complete(
    dpat: LittleDpat, client: DpatClient, folder: Path, coding: str, share: float
) -> None:
    body = packed(coding, b"".join(sha256(b"%d" % each).digest() for each in range(3000)))
    headers = {**named("attachment; filename=a.svs"), "Content-Encoding": coding}
    dpat.answer("GET", FILES, Reply(body=body[: int(len(body) * share)], headers=headers))
    refused(client, folder, Malformed, "is compressed, which DPAT was not asked for")
    assert not list(folder.iterdir())


@pytest.mark.parametrize("coding", ["", "identity", "Identity", "identity, identity"])
def test_an_answer_with_an_identity_encoding_is_accepted(
    dpat: LittleDpat, client: DpatClient, folder: Path, coding: str
) -> None:
    headers = {**named("attachment; filename=a.svs"), "Content-Encoding": coding}
    dpat.answer("GET", FILES, Reply(body=b"x" * 1000, headers=headers))
    assert save(client, folder) == {"a.svs": b"x" * 1000}


@pytest.mark.parametrize(
    "header",
    [
        "Content-Encoding: gzip",
        "content-encoding: br",
        "Content-Encoding: gzip\r\nContent-Encoding: identity",
        "Content-Transfer-Encoding: base64",
        "Content-Transfer-Encoding: quoted-printable",
        "Transfer-Encoding: chunked",
    ],
)
def test_a_part_that_is_compressed_or_encoded_is_refused(
    dpat: LittleDpat, client: DpatClient, folder: Path, header: str
) -> None:
    dpat.answer("GET", FILES, multipart(("form-data; filename=a.svs", b"A" * 99), extra=f"{header}\r\n"))
    refused(client, folder, Malformed, "a file of the slide compressed or encoded")


@pytest.mark.parametrize("coding", ["binary", "8bit", "7bit"])
def test_a_part_with_an_identity_encoding_is_accepted(
    dpat: LittleDpat, client: DpatClient, folder: Path, coding: str
) -> None:
    extra = f"Content-Transfer-Encoding: {coding}\r\n"
    dpat.answer("GET", FILES, multipart(("form-data; filename=a.svs", b"A"), extra=extra))
    assert save(client, folder) == {"a.svs": b"A"}


@pytest.mark.parametrize("framing", ["gzip", "gzip, chunked", "deflate, chunked"])
def test_a_body_compressed_in_transfer_is_refused(
    dpat: LittleDpat, client: DpatClient, folder: Path, framing: str
) -> None:
    packed_body = gzip.compress(b"x" * 1000)
    body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(packed_body), packed_body) if "chunked" in framing else packed_body
    headers = {**named("attachment; filename=a.svs"), "Transfer-Encoding": framing, "Content-Length": None}
    dpat.answer("GET", FILES, Reply(body=body, sent=len(body), headers=headers))
    refused(client, folder, Malformed, "is compressed")


def test_slides_are_requested_uncompressed(dpat: LittleDpat, client: DpatClient, folder: Path) -> None:
    dpat.answer("GET", FILES, Reply(body=b"x", headers=named("attachment; filename=a.svs")))
    save(client, folder)
    assert dpat.calls[-1].headers["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("size", [9, 300_000, 3_000_000])
@pytest.mark.parametrize("missing", [1, 8])
def test_a_length_that_is_too_short_truncates_no_slide(
    dpat: LittleDpat, client: DpatClient, folder: Path, size: int, missing: int
) -> None:
    headers = {**named("attachment; filename=a.svs"), "Content-Length": str(size - missing)}
    dpat.answer("GET", FILES, Reply(body=b"x" * size, headers=headers))
    refused(client, folder, DownloadIncomplete)


def test_an_unrequested_range_is_not_a_slide(dpat: LittleDpat, client: DpatClient, folder: Path) -> None:
    headers = {**named("attachment; filename=a.svs"), "Content-Range": "bytes 0-4/10"}
    dpat.answer("GET", FILES, Reply(206, b"abcde", headers))
    refused(client, folder, DownloadIncomplete, "a part of the slide's files")


def test_a_length_that_is_too_long_is_incomplete(dpat: LittleDpat, client: DpatClient, folder: Path) -> None:
    headers = {**named("attachment; filename=a.svs"), "Content-Length": "1001"}
    dpat.answer("GET", FILES, Reply(body=b"x" * 1000, sent=1000, headers=headers))
    refused(client, folder, DownloadIncomplete)


def test_a_line_break_after_the_announced_bytes_is_ignored(
    dpat: LittleDpat, client: DpatClient, folder: Path
) -> None:
    headers = {**named("attachment; filename=a.svs"), "Content-Length": "5"}
    dpat.answer("GET", FILES, Reply(body=b"abcde\r\n", sent=7, headers=headers))
    assert save(client, folder) == {"a.svs": b"abcde"}


@pytest.mark.parametrize("length", [None, "abc", "-5", "5.0"])
def test_a_bare_file_without_a_length_is_refused(
    dpat: LittleDpat, client: DpatClient, folder: Path, length: str | None
) -> None:
    headers = {**named("attachment; filename=a.svs"), "Content-Length": length}
    dpat.answer("GET", FILES, Reply(body=b"abcde", sent=5, headers=headers))
    refused(client, folder, Malformed, "sent no length")


def test_a_duplicate_length_is_accepted(dpat: LittleDpat, client: DpatClient, folder: Path) -> None:
    headers = {**named("attachment; filename=a.svs"), "content-length": "5"}
    dpat.answer("GET", FILES, Reply(body=b"abcde", headers=headers))
    assert save(client, folder) == {"a.svs": b"abcde"}


def test_two_different_lengths_are_refused(dpat: LittleDpat, client: DpatClient, folder: Path) -> None:
    headers = {**named("attachment; filename=a.svs"), "content-length": "3"}
    dpat.answer("GET", FILES, Reply(body=b"abcde", headers=headers))
    refused(client, folder, DpatUnavailable, "two different lengths")


def test_parts_without_a_length_end_with_their_closing_boundary(
    dpat: LittleDpat, client: DpatClient, folder: Path
) -> None:
    reply = multipart(("form-data; filename=a.svs", b"A"))
    headers = {**reply.headers, "Content-Length": None}
    dpat.answer("GET", FILES, replace(reply, headers=headers, sent=len(reply.content())))
    assert save(client, folder) == {"a.svs": b"A"}


@pytest.mark.parametrize("sent", [0, 1, 1_500_000, 1_999_999])
def test_a_file_cut_short_is_incomplete(dpat: LittleDpat, client: DpatClient, folder: Path, sent: int) -> None:
    dpat.answer("GET", FILES, Reply(body=b"x" * 2_000_000, sent=sent, headers=named("attachment; filename=a.svs")))
    refused(client, folder, DownloadIncomplete)


def test_a_multipart_answer_cut_after_a_whole_file_is_incomplete(
    dpat: LittleDpat, client: DpatClient, folder: Path
) -> None:
    whole = multipart(("form-data; filename=a.mrxs", b"A"), ("form-data; filename=b.dat", b"B" * 1000))
    cut = whole.content()[:-14]
    dpat.answer("GET", FILES, Reply(body=cut, headers=whole.headers))
    refused(client, folder, DownloadIncomplete, "closing boundary")


def test_a_multipart_answer_whose_connection_breaks_is_incomplete(
    dpat: LittleDpat, client: DpatClient, folder: Path
) -> None:
    reply = multipart(("form-data; filename=a.mrxs", b"A" * 1000))
    reply.sent = 500
    dpat.answer("GET", FILES, reply)
    refused(client, folder, DownloadIncomplete)


def test_a_part_shorter_than_it_announces_is_incomplete(dpat: LittleDpat, client: DpatClient, folder: Path) -> None:
    dpat.answer("GET", FILES, multipart(("form-data; filename=a.svs", b"A"), extra="Content-Length: 2\r\n"))
    refused(client, folder, DownloadIncomplete, "2 bytes announced, 1 came")


@pytest.mark.parametrize(
    "reply", [Reply(body=b"", headers=named("a; filename=a.svs")), multipart(("a; filename=a.svs", b""))]
)
def test_an_empty_file_is_incomplete(dpat: LittleDpat, client: DpatClient, folder: Path, reply: Reply) -> None:
    dpat.answer("GET", FILES, reply)
    refused(client, folder, DownloadIncomplete)


@pytest.mark.parametrize(
    "reply",
    [
        Reply(body=b"--b--", headers={"Content-Type": "multipart/related"}),
        Reply(body=b"--b--", headers={"Content-Type": "multipart/related; boundary=b"}),
        multipart(("a; filename=a.svs", b"A"), ("a; filename=a.svs", b"B")),
        multipart(("a; filename=a.svs", b"A"), ("a; filename=A.SVS", b"B")),
        multipart(("a; filename=a.svs", b"A"), ('a; filename="x/a.svs"', b"B")),
        Reply(body=b"x" * 3_000_000, headers={"Content-Type": "multipart/related; boundary=b"}),
    ],
)
def test_an_answer_without_a_slides_files_is_malformed(
    dpat: LittleDpat, client: DpatClient, folder: Path, reply: Reply
) -> None:
    dpat.answer("GET", FILES, reply)
    refused(client, folder, Malformed)


def test_more_parts_than_any_slide_has_are_malformed(
    dpat: LittleDpat, client: DpatClient, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert MAX_PARTS == 10_000
    monkeypatch.setattr("slidehook.dpat.iaapi.multipart.MAX_PARTS", 100)
    reply = multipart(*[(f"a; filename={number}.dcm", b"A") for number in range(101)])
    dpat.answer("GET", FILES, reply)
    refused(client, folder, Malformed, "more than 100 parts")


@pytest.mark.parametrize("read_timeout", ["1s"])
def test_a_stalled_download_times_out(dpat: LittleDpat, client: DpatClient, folder: Path) -> None:
    go_on = threading.Event()
    dpat.answer("GET", FILES, Reply(body=b"x" * 1000, sent=500, until=go_on, headers=named("a; filename=a.svs")))
    try:
        refused(client, folder, DpatTimeout)
    finally:
        go_on.set()


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        ('attachment; filename="../../x"', "x"),
        ('attachment; filename="/etc/passwd"', "passwd"),
        ('attachment; filename="C:\\x\\y.svs"', "y.svs"),
        ('attachment; filename="C:\\\\x\\\\y.svs"', "y.svs"),
        ('attachment; filename="\\\\server\\share\\y.svs"', "y.svs"),
        ('attachment; filename="a\\"b.svs"', "ab.svs"),
        ('attachment; filename=".."', "file-1"),
        ('attachment; filename="."', "file-1"),
        ('attachment; filename=""', "file-1"),
        ('attachment; filename="a/"', "file-1"),
        ('attachment; filename=".bashrc"', "bashrc"),
        ("attachment; filename*=UTF-8''sn%C3%B6.svs", "sn\u00f6.svs"),
        ("attachment; filename*=UTF-8''..%2F..%2Fx.svs", "x.svs"),
        ("attachment; filename*=UTF-8''a%00b%0A.svs", "ab.svs"),
        ("attachment; filename=x.svs; filename*=UTF-8''%E2%82%AC.svs", "\u20ac.svs"),
        ('attachment; filename="sn\u00f6.svs"', "sn\u00f6.svs"),
        ('attachment; filename="sn\u00c3\u00b6.svs"', "sn\u00f6.svs"),
        ('attachment; filename="a%2e%2e%2fb.svs"', "a%2e%2e%2fb.svs"),
        ("attachment", "file-1"),
    ],
)
def test_no_name_leads_out_of_the_folder(
    dpat: LittleDpat, client: DpatClient, folder: Path, disposition: str, name: str
) -> None:
    dpat.answer(
        "GET",
        FILES,
        Reply(body=b"x", headers=named(disposition)),
    )
    assert save(client, folder) == {name: b"x"}
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


@pytest.mark.parametrize(
    ("long", "ending"), [("x" * 300 + ".svs", ".svs"), ("\u00f6" * 300, ""), ("a." + "y" * 300, "")]
)
def test_a_long_name_is_shortened_but_keeps_its_suffix(
    dpat: LittleDpat, client: DpatClient, folder: Path, long: str, ending: str
) -> None:
    short = safe_name(long, 1)
    assert len(short.encode()) <= 200
    assert short.endswith(ending)
    assert long.startswith(short.removesuffix(ending))
    dpat.answer("GET", FILES, multipart((f'form-data; filename="{long}"', b"x")))
    assert save(client, folder) == {short: b"x"}


@pytest.mark.parametrize("name", ["\ud800.svs", "a\u202eb.svs", "\x7f", " .. ", 'a<>:"|?*b', "\u2024\u2024"])
def test_a_safe_name_is_one_plain_file_name(name: str) -> None:
    safe = safe_name(name, 3)
    assert safe.encode()
    assert safe.isprintable()
    assert "/" not in safe
    assert safe not in {"", ".", ".."}


@pytest.mark.parametrize("name", ["sn\u00f6.svs", "\u75c5\u7406.svs"])
def test_a_parts_name_may_be_raw_utf_8(dpat: LittleDpat, client: DpatClient, folder: Path, name: str) -> None:
    dpat.answer("GET", FILES, multipart((f'form-data; filename="{name}"', b"x")))
    assert save(client, folder) == {name: b"x"}


@pytest.mark.parametrize(
    "parameter",
    [
        "boundary=frontier",
        'boundary="frontier"',
        'Boundary="frontier"; type="application/octet-stream"',
        'type="application/octet-stream"; start="<a>"; boundary=frontier',
        "charset=utf-8;boundary=frontier",
    ],
)
def test_every_notation_of_the_boundary_is_parsed(
    dpat: LittleDpat, client: DpatClient, folder: Path, parameter: str
) -> None:
    reply = multipart(("form-data; filename=a.svs", b"A"))
    dpat.answer("GET", FILES, replace(reply, headers={"Content-Type": f"Multipart/Related; {parameter}"}))
    assert save(client, folder) == {"a.svs": b"A"}


@pytest.mark.parametrize("boundary", ["'()+_,-./:=?", "a b", "--", "x" * 70, "=_Part_1;2", "0"])
def test_a_boundary_may_contain_any_legal_character(
    dpat: LittleDpat, client: DpatClient, folder: Path, boundary: str
) -> None:
    body = f"--{boundary}\r\nContent-Disposition: a; filename=a.svs\r\n\r\nA\r\n--{boundary}--".encode()
    dpat.answer("GET", FILES, Reply(body=body, headers={"Content-Type": f'multipart/related; boundary="{boundary}"'}))
    assert save(client, folder) == {"a.svs": b"A"}


def test_a_chunked_answer_needs_no_length(dpat: LittleDpat, client: DpatClient, folder: Path) -> None:
    body = b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    headers = {**named("a; filename=a.svs"), "Content-Length": None, "Transfer-Encoding": "chunked"}
    dpat.answer("GET", FILES, Reply(body=body, headers=headers))
    assert save(client, folder) == {"a.svs": b"abcde"}


@pytest.mark.parametrize("sent", [2, 5, 8, 12, 13, 14, 15, 16])
def test_a_chunked_answer_that_breaks_off_is_incomplete(
    dpat: LittleDpat, client: DpatClient, folder: Path, sent: int
) -> None:
    body = b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    headers = {**named("a; filename=a.svs"), "Content-Length": None, "Transfer-Encoding": "chunked"}
    dpat.answer("GET", FILES, Reply(body=body, headers=headers, sent=sent))
    refused(client, folder, DownloadIncomplete)


def test_progress_is_reported_as_bytes_arrive(dpat: LittleDpat, client: DpatClient, folder: Path) -> None:
    go_on = threading.Event()
    dpat.answer("GET", FILES, Reply(body=b"x" * 1000, sent=10, until=go_on, headers=named("a; filename=a.svs")))

    def received(done: int, _: int | None) -> None:
        progress.append(done)
        go_on.set()

    progress: list[int] = []
    with client.files("S-1") as response:
        save_files(response, folder, received)
    assert (progress[0], progress[-1]) == (10, 1000)


def test_a_slide_larger_than_the_free_disk_is_not_downloaded(
    dpat: LittleDpat, client: DpatClient, folder: Path
) -> None:
    headers = {**named("a; filename=a.svs"), "Content-Length": str(10**16)}
    dpat.answer("GET", FILES, Reply(body=b"x", headers=headers))
    refused(client, folder, DiskFull, "is full: no room for the slide")
    assert not list(folder.iterdir())


def free_bytes(folder: Path) -> int:
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize


def test_a_slide_that_would_leave_too_little_free_disk_is_not_downloaded(
    dpat: LittleDpat, client: DpatClient, folder: Path
) -> None:
    dpat.answer("GET", FILES, Reply(body=b"x", headers=named("a; filename=a.svs")))
    room = Room.keeping(free_bytes(folder) / 1e9 + 1000)
    with pytest.raises(DiskFull, match="GB that SLIDEHOOK_MIN_FREE_GB keeps free"), client.files("S-1") as response:
        save_files(response, folder, lambda *_: None, room=room)
    assert not list(folder.iterdir())


@pytest.mark.parametrize("files", [1, 40])
def test_a_slide_without_a_length_leaves_the_reserved_disk_space_free(
    dpat: LittleDpat, client: DpatClient, folder: Path, files: int
) -> None:
    content = bytes(160 * 1024 * 1024 // files)
    reply = multipart(*[(f"a; filename={number}.dcm", content) for number in range(files)])
    body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(reply.content()), reply.content())
    headers = {**reply.headers, "Content-Length": None, "Transfer-Encoding": "chunked"}
    dpat.answer("GET", FILES, Reply(body=body, headers=headers))
    asked = []

    class Shrinking(Room):
        def check(self, folder: Path, wanted_bytes: int, what: str) -> None:
            asked.append(sum(path.stat().st_size for path in folder.iterdir()))
            if len(asked) > 2:
                Room.keeping(free_bytes(folder) / 1e9 + 1000).check(folder, wanted_bytes, what)

    with pytest.raises(DiskFull, match="SLIDEHOOK_MIN_FREE_GB"), client.files("S-1") as response:
        save_files(response, folder, lambda *_: None, room=Shrinking())
    assert asked[0] == 0
    assert asked[1] < asked[2] < 40 * 1024 * 1024
    assert all(path.suffix == ".part" for path in folder.iterdir())


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (["Jane Doe 1970.svs"], ["slide-1.svs"]),
        (["JANE.SVS"], ["slide-1.svs"]),
        (["jane.doe"], ["slide-1"]),
        (["jane"], ["slide-1"]),
        (["file-1"], ["slide-1"]),
        (["jane.ome.tif"], ["slide-1.tif"]),
        (["1.2.3.dcm", "1.2.4.dcm", "1.2"], ["slide-1.dcm", "slide-2.dcm", "slide-3"]),
        (["jane.svs", "jane.xml", "joe.xml"], ["slide-1.svs", "slide-1.xml", "slide-2.xml"]),
        (["jane.x", "jane.y", "joe"], ["slide-1", "slide-2", "slide-3"]),
        (["jane.vms", "jane(0,1).jpg"], ["jane.vms", "jane(0,1).jpg"]),
        (["Slidedat.ini", "jane.MRXS"], ["Slidedat.ini", "jane.MRXS"]),
    ],
)
def test_files_get_neutral_names_unless_one_refers_to_the_others(theirs: list[str], ours: list[str]) -> None:
    assert neutral_names(theirs) == ours
    assert len(set(ours)) == len(ours)


def test_dpats_names_are_not_kept_by_default(dpat: LittleDpat, client: DpatClient, folder: Path) -> None:
    dpat.answer("GET", FILES, multipart(("a; filename=jane.dcm", b"A"), ("a; filename=doe.dcm", b"B")))
    with client.files("S-1") as response:
        paths = save_files(response, folder, lambda *_: None, keep_names=False)
    assert [(path.name, path.read_bytes()) for path in paths] == [("slide-1.dcm", b"A"), ("slide-2.dcm", b"B")]
    assert sorted(folder.iterdir()) == paths


@pytest.mark.parametrize(
    "reply",
    [
        Reply(body=b"", headers=named("a; filename=jane.svs")),
        multipart(("a; filename=jane.svs", b"A"), extra="Content-Length: 2\r\n"),
        multipart(("a; filename=jane.svs", b"A"), ("a; filename=jane.svs", b"B")),
        multipart(("a; filename=jane.svs", b"A"), extra="Content-Encoding: jane\r\n"),
        Reply(body=b"A", headers={**named("a; filename=jane.svs"), "Content-Encoding": "jane"}),
        Reply(body=b"A", headers=named("a; filename=jane.svs", "multipart/jane")),
        Reply(body=b"A", headers={**named("a; filename=jane.svs"), "Content-Length": "100"}, sent=1),
        Reply(206, b"A", headers=named("a; filename=jane.svs")),
        Reply(302, b"jane", headers={"Location": "/jane"}),
        Reply(400, b"jane"),
    ],
)
def test_no_message_about_a_download_contains_a_name_from_dpat(
    dpat: LittleDpat, client: DpatClient, folder: Path, reply: Reply
) -> None:
    dpat.answer("GET", FILES, reply)
    with pytest.raises(SlidehookError) as caught:
        save(client, folder)
    assert "jane" not in str(caught.value)


def test_a_missing_folder_is_not_a_fault_of_dpat(dpat: LittleDpat, client: DpatClient, folder: Path) -> None:
    dpat.answer("GET", FILES, Reply(body=b"x", headers=named("a; filename=a.svs")))
    folder.rmdir()
    with pytest.raises(CannotStore, match="No such file"), client.files("S-1") as response:
        save_files(response, folder, lambda *_: None)


def test_a_file_larger_than_the_file_systems_limit_can_not_be_stored(
    dpat: LittleDpat, client: DpatClient, folder: Path
) -> None:
    dpat.answer("GET", FILES, multipart(("a; filename=a.svs", b"A" * 9000), ("a; filename=b.svs", b"B")))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        refused(client, folder, CannotStore, "File too large")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
