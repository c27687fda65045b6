"""A queue in memory, for tests of apps, workers and webservers. Nothing outlives the process.

It does what the queue on disk does (one contract suite runs on both), without a folder, a lock or a wait:

    queue = MemoryQueue()
    queue.sink().hold(job).release()
    claim = queue.source().claim()

`crash` ends a party as if its process had died, and with a `clock` of the test's own time passes when the test wants.
"""

from slidehook.jobs.memory.queue import MemoryQueue
from slidehook.jobs.memory.sink import MemorySink
from slidehook.jobs.memory.source import MemorySource

__all__ = ["MemoryQueue", "MemorySink", "MemorySource"]
