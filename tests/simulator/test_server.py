from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import pytest
import requests
from click.testing import CliRunner

from slidehook.simulator.cli import EXTRA, main
from slidehook.simulator.options import Options
from slidehook.simulator.server import Simulator
from tests.simulator.conftest import Caller

SLIDEHOOK = str(Path(sys.executable).with_name("slidehook"))


def test_connections_stay_open_even_after_a_refused_body(sim: Simulator) -> None:
    with socket.create_connection(("127.0.0.1", int(sim.url.rpartition(":")[2])), timeout=60) as connection:
        reader = connection.makefile("rb")
        for _ in range(3):
            body = b"x" * 5000
            head = f"POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
            connection.sendall(head.encode() + body)
            assert b"404" in reader.readline()
            length = 0
            while (line := reader.readline()) != b"\r\n":
                name, _, value = line.partition(b":")
                length = int(value) if name.lower() == b"content-length" else length
            assert len(reader.read(length)) == length
        reader.close()


def test_stopping_ends_stalled_and_idle_connections(sample_slides: Path) -> None:
    with Simulator(sample_slides) as sim, Caller(sim) as idle, Caller(sim) as stalled:
        idle.get("/info")
        sim.add_fault("/files$", "stall", after_bytes=10, seconds=600)
        with stalled.get("/slides/immuno/files", stream=True) as answer:
            answer.raw.read(10)
            sim.stop()
        assert [thread for thread in threading.enumerate() if thread.name == "simulator"] == []
        with pytest.raises(requests.ConnectionError):
            idle.get("/info")


def test_a_restart_keeps_the_state(sample_slides: Path) -> None:
    with Simulator(sample_slides) as sim:
        url, token = sim.callback_url, sim.token()
        headers = {"X-Sectra-ApiVersion": "1.10", "Authorization": f"Bearer {token}"}
        sim.stop()
        with pytest.raises(requests.ConnectionError):
            requests.get(f"{url}/info", headers=headers, timeout=60)
        sim.start()
        assert requests.get(f"{url}/info", headers=headers, timeout=60).status_code == 200


def test_a_caller_that_disconnects_within_its_body_is_harmless(sim: Simulator, api: Caller) -> None:
    with socket.create_connection(("127.0.0.1", int(sim.url.rpartition(":")[2])), timeout=60) as connection:
        connection.sendall(b"POST /sim/apps HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf")
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(100) == b""
    assert api.get("/info").status_code == 200


def test_each_call_can_be_delayed(sample_slides: Path) -> None:
    with Simulator(sample_slides, Options(delay_s=0.1)) as sim, Caller(sim) as api:
        api.get("/info")
        assert sim.calls()[0].seconds >= 0.1


def test_a_taken_port_and_a_missing_folder_are_errors(sim: Simulator, tmp_path: Path) -> None:
    port = int(sim.url.rpartition(":")[2])
    with pytest.raises(OSError, match="in use"):
        Simulator(tmp_path, port=port).start()
    with pytest.raises(FileNotFoundError):
        Simulator(tmp_path / "none")


@pytest.mark.parametrize(
    "wrong",
    [
        {"api_version": "2"},
        {"token_lifetime_s": 0},
        {"update_methods": "POST"},
        {"multipart": "mixed"},
        {"patch": "418"},
    ],
)
def test_invalid_options_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="must be"):
        Options(**wrong)  # type: ignore[arg-type]


def test_versions_are_compared_as_numbers() -> None:
    assert Options(api_version="1.10").has("1.9")
    assert not Options(api_version="1.9").has("1.10")
    assert "secret" not in repr(Options(password="secret"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_serves_until_a_signal(sample_slides: Path, number: signal.Signals) -> None:
    command = [SLIDEHOOK, "simulator", "--slides", str(sample_slides), "--api-version", "1.9"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        with urllib.request.urlopen(f"{url}/sim/healthz", timeout=60) as answer:  # noqa: S310
            assert json.load(answer)["apiVersion"] == "1.9"
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")


def test_the_command_has_help_and_readable_errors(sim: Simulator, sample_slides: Path) -> None:
    assert "--update-methods" in CliRunner().invoke(main, ["--help"]).output
    port = sim.url.rpartition(":")[2]
    failed = CliRunner().invoke(main, ["--slides", str(sample_slides), "--port", port])
    assert failed.exit_code == 1
    assert "in use" in failed.output


@pytest.mark.parametrize("package", sorted(EXTRA))
def test_sample_slides_without_their_extra_are_refused_with_one_sentence(tmp_path: Path, package: str) -> None:
    code = f"import sys; sys.modules[{package!r}] = None; from slidehook.cli.main import main; main(sys.argv[1:])"
    command = [sys.executable, "-c", code, "simulator", "--sample", "--slides", str(tmp_path / "slides")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line == (
        f"Error: --sample needs the package {package}: install slidehook with its extra `simulator`, "
        "as ./demo_run.sh does."
    )
    assert list(tmp_path.iterdir()) == []
