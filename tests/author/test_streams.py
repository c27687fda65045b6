"""Standard output and error that are full, stuck, gone or closed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

BUSY_S = 120.0
PROTECTED = "import os, sys; from slidehook.streams import protect_output; protect_output(); "


def run(program: str, *, stderr: int, **more: object) -> subprocess.CompletedProcess[str]:
    """Run a program whose output is protected."""
    command = [sys.executable, "-c", PROTECTED + program]
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=stderr, text=True, timeout=BUSY_S, check=False)


def test_all_that_is_written_arrives_in_order_also_what_a_forked_process_writes() -> None:
    program = (
        "print('é', file=sys.stderr);"
        "[print(each, file=sys.stderr) for each in range(1000)];"
        "pid = os.fork();"
        "print('child' if pid == 0 else 'parent', file=sys.stderr);"
        "pid and os.waitpid(pid, 0)"
    )
    done = run(program, stderr=subprocess.PIPE)
    lines = done.stderr.splitlines()
    assert [each for each in lines if each != "child"] == ["é", *map(str, range(1000)), "parent"]
    assert lines.count("child") == 1
    assert done.returncode == 0


def test_a_full_disk_fails_neither_a_write_nor_the_exit() -> None:
    with Path("/dev/full").open("wb") as full:
        done = run("print('x' * 100_000, file=sys.stderr); print('done')", stderr=full.fileno())
    assert (done.returncode, done.stdout) == (0, "done\n")


def test_a_pipe_that_nobody_reads_makes_nobody_wait_and_later_tells_what_is_missing() -> None:
    program = (
        "[print('x' * 1000, file=sys.stderr) for _ in range(20_000)];"
        "print('all are written', flush=True);"
        "import time; [(sys.stdin.readline(), print('late', file=sys.stderr), time.sleep(0.5))]"
    )
    reader, writer = os.pipe()
    command = [sys.executable, "-c", PROTECTED + program]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=writer, text=True
    ) as process:
        os.close(writer)
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "all are written\n"
        process.stdin.write("go on\n")
        process.stdin.flush()
        with open(reader, encoding="utf-8") as log:  # noqa: PTH123 - a descriptor
            text = log.read()
    assert "lines could not be written here" in text


def test_a_program_ends_in_time_also_while_its_output_is_stuck() -> None:
    reader, writer = os.pipe()
    try:
        done = run("[print('x' * 1000, file=sys.stderr) for _ in range(500)]; print('done')", stderr=writer)
    finally:
        os.close(reader)
        os.close(writer)
    assert (done.returncode, done.stdout) == (0, "done\n")


def test_a_signal_handler_may_log_at_any_point() -> None:
    program = (
        "import signal, structlog;"
        "from slidehook.logs import set_up_logging; set_up_logging(); log = structlog.get_logger();"
        "signal.signal(signal.SIGALRM, lambda *_: log.info('heard'));"
        "signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005);"
        "[log.info('step') for _ in range(2000)];"
        "signal.setitimer(signal.ITIMER_REAL, 0);"
        "print('done')"
    )
    done = run(program, stderr=subprocess.PIPE)
    assert (done.returncode, done.stdout) == (0, "done\n")
    assert "heard" in done.stderr


def test_a_closed_descriptor_is_not_given_to_the_next_file(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    program = f"file = open({str(path)!r}, 'w'); print('lost', file=sys.stderr); os.write(2, b'lost'); file.close()"
    command = ["sh", "-c", 'exec "$@" 0<&- 1>&- 2>&-', "sh", sys.executable, "-c", PROTECTED + program]
    assert subprocess.run(command, timeout=BUSY_S, check=False).returncode == 0
    assert path.read_text() == ""


@pytest.mark.parametrize("words", [["apps"], ["--help"]])
def test_a_command_says_in_one_sentence_that_its_output_can_not_be_written(words: list[str]) -> None:
    command = [str(Path(sys.executable).with_name("slidehook")), *words]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=BUSY_S, check=False)
    assert done.stderr == "Error: the output can't be written: No space left on device.\n"
    assert done.returncode == 1


def test_a_protected_program_still_ends_by_the_signals_that_end_it() -> None:
    done = run("os.kill(os.getpid(), 15)", stderr=subprocess.DEVNULL)
    assert done.returncode == -signal.SIGTERM


def test_what_click_prints_arrives_too() -> None:
    program = "import click; click.echo('a sentence', err=True); print('more', file=sys.stderr)"
    assert run(program, stderr=subprocess.PIPE).stderr == "a sentence\nmore\n"
