"""Opens the queue according to the settings. Nothing outside `slidehook.jobs` refers to a backend."""

from __future__ import annotations

from slidehook.jobs.contract import Queue, Role
from slidehook.jobs.files.opened import OpenFileQueue
from slidehook.settings import Settings


def open_queue(settings: Settings, role: Role) -> Queue:
    """Open the site's queue for a role; raises QueueError. An `admin` does not create a missing queue."""
    return OpenFileQueue(settings.queue_dir, role)
