"""Stores "cancelled" on the slide of a job that an operator cancels."""

from __future__ import annotations

from slidehook.errors import SystemFault, SystemUnavailable
from slidehook.jobs.job import JobRecord
from slidehook.registry.registry import load_apps
from slidehook.settings import read_settings
from slidehook.systems import Access, OneSecret, Systems, show_cancelled

LATER = "A worker tells the slide when DPAT takes it."


class CancelledSlide:
    """The slide of one cancelled job; `said` is what to tell the operator."""

    said = "its worker is told to stop"

    def tell(self, record: JobRecord) -> bool:
        """Store "cancelled" on the slide; False leaves that to a worker."""
        settings, job = read_settings(), record.job
        app = load_apps(settings).get(job.app_id)
        if app is None:
            self.said = f"stopped; a worker that has the app {job.app_id} tells the slide"
            return False
        try:
            access = Access(OneSecret(job.secret))
            destination = Systems(settings)[job.system].destination(job.address, job, app, access)
            destination.resume(record.noted, record.changed_at)
            show_cancelled(destination)
        except SystemFault as error:
            # A worker could only wait for a token that may never come, and the operator wants the job to be over.
            over = not isinstance(error, SystemUnavailable) and settings.dpat_user is None
            self.said = f"cancelled; its slide could not be told: {error}" if over else f"stopped; {error} {LATER}"
            return over
        self.said = "cancelled"
        return True
