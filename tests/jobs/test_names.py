"""The names of job files: taken apart and put together again, and foreign ones passed over."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slidehook.jobs.files.claimers import new_claimer_id
from slidehook.jobs.files.names import JobName
from slidehook.jobs.job import ENDED, JobState, new_job_id
from slidehook.jobs.rules import NEVER_NS

FLAT = sorted(set(JobState) - {JobState.WITHDRAWN})
LONGEST_NAME = 255

ids = st.from_regex(r"[0-9a-f]{16}-[0-9a-f]{8}", fullmatch=True)
apps = st.from_regex(r"[a-z0-9]+(-[a-z0-9]+)*", fullmatch=True).filter(lambda text: len(text) <= 64)
claimers = st.from_regex(r"[a-z]+-[a-z0-9-]{1,60}", fullmatch=True)
cores = st.tuples(ids, st.integers(0, 9), apps, st.integers(0, 999_999))
names = st.one_of(
    cores.map(lambda core: JobName(JobState.WAITING, *core)),
    st.tuples(cores, st.sampled_from(sorted(ENDED))).map(lambda both: JobName(both[1], *both[0])),
    st.tuples(cores, claimers).map(lambda both: JobName(JobState.ACTIVE, *both[0], both[1])),
    st.tuples(cores, claimers, st.sampled_from(sorted(ENDED))).map(
        lambda all_: JobName(JobState.ENDING, *all_[0], all_[1], all_[2])
    ),
    st.tuples(cores, st.integers(0, NEVER_NS)).map(
        lambda both: JobName(JobState.PARKED, *both[0], wake_ns=both[1])
    ),
)  # fmt: skip
FOREIGN = ["", ".", ".DS_Store", "Thumbs.db", ".nfs000000000123", "lost+found", "job.tmp", "é", "a" * 255, "x\ny"]
OURS = JobName(JobState.WAITING, new_job_id(1), 5, "nuclei", 1)


@given(names)
def test_every_name_reads_back(name: JobName) -> None:
    assert JobName.parse(name.state, str(name)) == name


@given(st.sampled_from(FLAT), st.text(max_size=60))
def test_foreign_names_are_none_of_ours(state: JobState, text: str) -> None:
    assert JobName.parse(state, text) is None


@pytest.mark.parametrize("state", FLAT)
@pytest.mark.parametrize("text", FOREIGN)
def test_well_known_foreign_files_are_none_of_ours(state: JobState, text: str) -> None:
    assert JobName.parse(state, text) is None


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text + "\n",
        lambda text: text + "~",
        lambda text: text + ".tmp",
        lambda text: "." + text,
        lambda text: text.upper(),
        lambda text: text[1:],
        lambda text: text.replace(".p5", ".p10"),
        lambda text: text.replace(".a1", ".a-1"),
        lambda text: text.replace(".a1", ".a\u0661"),
        lambda text: text.replace("nuclei", "nu/clei"),
        lambda text: text.replace("nuclei", ""),
    ],
)
def test_a_name_that_is_almost_ours_is_not_ours(spoil: object) -> None:
    assert callable(spoil)
    assert JobName.parse(JobState.WAITING, spoil(str(OURS))) is None


@given(names, st.sampled_from(FLAT))
def test_a_name_is_read_in_no_folder_but_its_own(name: JobName, folder: JobState) -> None:
    flat = {JobState.WAITING, *ENDED}
    if folder is not name.state and not {folder, name.state} <= flat:
        assert JobName.parse(folder, str(name)) is None


def test_the_longest_name_fits_every_file_system() -> None:
    claimer = new_claimer_id("webserver")
    name = JobName(
        JobState.ENDING, new_job_id(1), 9, "a" * 64, 999_999, claimer[:96].ljust(96, "x"), JobState.CANCELLED
    )

    assert len(str(name)) <= LONGEST_NAME


def test_a_name_says_where_the_job_may_go_and_keeps_what_it_is() -> None:
    active = OURS.active("work-host-1", 2)

    assert (active.state, active.claimer, active.attempt) == (JobState.ACTIVE, "work-host-1", 2)
    assert active.waiting() == JobName(JobState.WAITING, OURS.job_id, 5, "nuclei", 2)
    assert active.waiting(attempt=1) == OURS
    assert active.parked(77).wake_ns == 77
    assert active.parked(77, attempt=0).attempt == 0
    ending = active.ending("work-host-1", JobState.FAILED)
    assert ending.ended() == JobName(JobState.FAILED, OURS.job_id, 5, "nuclei", 2)


@pytest.mark.parametrize(("wanted_ns", "wake_ns"), [(-5, 0), (NEVER_NS + 1, NEVER_NS)])
def test_a_waking_time_beyond_all_bounds_is_the_nearest_that_a_name_can_hold(wanted_ns: int, wake_ns: int) -> None:
    name = OURS.parked(wanted_ns)

    assert name.wake_ns == wake_ns
    assert JobName.parse(JobState.PARKED, str(name)) == name


def test_a_job_that_is_not_ending_has_no_last_name() -> None:
    with pytest.raises(ValueError, match="not ending"):
        OURS.ended()


@given(st.lists(st.integers(0, NEVER_NS), min_size=2, max_size=5))
def test_sleeping_jobs_sort_by_the_time_to_wake(times: list[int]) -> None:
    texts = sorted(str(OURS.parked(each)) for each in times)

    woken = [name.wake_ns for text in texts if (name := JobName.parse(JobState.PARKED, text))]
    assert woken == sorted(times)


def test_the_age_is_in_the_name() -> None:
    name = JobName(JobState.WAITING, new_job_id(1_700_000_000_000_000_000), 5, "nuclei", 0)

    assert name.made_at == 1_700_000_000.0
    assert name.age == name.job_id[:16]
