"""Runs a command whose standard output and error can't be written: `odd_output.py KIND COMMAND…`.

KIND is `full` (a full disk), `dead` (a pipe without a reader), `stuck` (a full pipe that nobody reads), `closed`, or
the path of a terminal, which becomes the command's own.
"""

from __future__ import annotations

import os
import sys


def main(kind: str, *command: str) -> None:
    """Become the command."""
    if kind == "closed":
        for number in (0, 1, 2):
            os.close(number)
    else:
        for number in (1, 2) if kind in {"full", "dead", "stuck"} else (0, 1, 2):
            os.dup2(output(kind), number)
    os.execvp(command[0], command)  # noqa: S606 - the test's own command


def output(kind: str) -> int:
    """Open what the command is to write to."""
    if kind not in {"dead", "stuck"}:
        return os.open("/dev/full" if kind == "full" else kind, os.O_RDWR)
    reader, writer = os.pipe()
    if kind == "dead":
        os.close(reader)
        return writer
    os.set_inheritable(reader, True)
    os.set_blocking(writer, False)
    try:
        while os.write(writer, bytes(512)):
            pass
    except BlockingIOError:
        os.set_blocking(writer, True)
    return writer


if __name__ == "__main__":
    main(*sys.argv[1:])
