"""The keys that mark results of jobs, in their tables and contexts."""

from __future__ import annotations

STATUS, PROGRESS = "Status", "Progress (%)"
"""The only rows in the table of a result in progress, failed or cancelled."""
JOB_MARK = "slidehookJob"
"""The key of the job's id in a result's context. It finds a result whose creation was never answered."""
