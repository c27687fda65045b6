"""The words by which results of jobs are told apart from others, in their tables and contexts."""

from __future__ import annotations

STATUS, PROGRESS = "Status", "Progress (%)"
"""The rows of the table beside a result that is not there yet, or never will be."""
JOB_MARK = "slidehookJob"
"""The word of a result's context under which the job's id stands: so a result is found of which DPAT said nothing."""
