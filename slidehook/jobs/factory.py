"""Opens the queue that the settings name. Nothing outside `slidehook.jobs` names a backend."""

from __future__ import annotations

from slidehook.jobs.contract import Queue, Role
from slidehook.jobs.files.opened import OpenFileQueue
from slidehook.settings import Settings


def open_queue(settings: Settings, role: Role) -> Queue:
    """Open the site's queue for a role; raises QueueError. An `admin` does not make a queue that is not there."""
    return OpenFileQueue(settings.queue_dir, role)
