"""The process of an app at its author's desk: like a worker's, but with the author's terminal and loaded apps."""

from __future__ import annotations

import faulthandler
import io
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

from slidehook.registry.registry import Registry
from slidehook.running.author_trace import author_trace
from slidehook.running.child import LoadedApps, analyse_all, leave_signals_to_the_worker
from slidehook.running.message_pipe import Line
from slidehook.running.process_tree import adopt_orphans, end_with
from slidehook.settings import Settings


@dataclass(frozen=True)
class Desk:
    """An author's desk: the apps that this process has loaded, and a folder for notes about processes."""

    registry: Registry
    notes: Path


class TerminalPrints:
    """Leaves an app's output in the terminal; used in place of `slidehook.running.child_output.Prints`."""

    inode = 0

    def start(self) -> None:
        """Do nothing: nothing is captured."""

    def about(self, **ids: str) -> None:
        """Do nothing: printed lines belong to no log."""

    def hide(self, secret: str) -> None:
        """Do nothing: a slide on this machine needs no secret."""

    def cleaned(self, text: str) -> str:
        """Return the text unchanged: the caller cleans it before printing."""
        return text

    def close(self) -> None:
        """Do nothing: nothing is captured."""


def serve_at_desk(ours: Line, theirs: Line, desk: Desk, settings: Settings, parent: int) -> None:
    """Carry out the tasks that come through `theirs` until it closes, in a fork of the process that loaded the apps.

    The fork stays in that process's group, so that it can use the terminal. The parent handles Ctrl-C.
    """
    ours.close()
    # multiprocessing has closed stdin, but a debugger reads from it.
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # a killed process does not flush its buffers
    faulthandler.enable(2)
    theirs.keep_to_this_process()
    adopt_orphans()
    leave_signals_to_the_worker()
    end_with(parent, signal.SIGKILL)
    analyse_all(theirs, LoadedApps(desk.registry), settings, author_trace)
