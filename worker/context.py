"""What one worker has for all of its jobs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from slidehook.registry.registry import Registry
from slidehook.running.app_process import AppProcess
from slidehook.settings import Settings
from slidehook.systems import Systems
from worker.shutdown import Interruption
from worker.workspace import Workspace


@dataclass(frozen=True)
class WorkerContext:
    """The settings, apps, systems and folders of a worker. `leaving` interrupts it and its job."""

    settings: Settings
    registry: Registry
    systems: Systems
    workspace: Workspace
    leaving: Interruption


Child = Callable[[], AppProcess]
"""Returns the process that runs apps; a new one if the last one has ended."""
