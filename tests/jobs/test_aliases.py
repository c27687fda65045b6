"""Second names of live jobs."""

from __future__ import annotations

from pathlib import Path
from threading import Barrier, Thread

import pytest

from slidehook.jobs.files.aliases import Aliases
from slidehook.jobs.job import AttemptEnded, Ended, Job, JobState
from tests.jobs.making import make_job

KEY, OTHER_KEY = "ab" * 20, "cd" * 20
ENDED = Ended(at=1.0, attempt=1, outcome=JobState.FAILED).model_dump_json().encode() + b"\n"
AGAIN = AttemptEnded(at=2.0, attempt=1, reason="again").model_dump_json().encode() + b"\n"


@pytest.fixture
def aliases(tmp_path: Path) -> Aliases:
    (tmp_path / "aliases").mkdir()
    return Aliases(str(tmp_path / "aliases"))


def file_of(tmp_path: Path, job: Job) -> Path:
    path = tmp_path / job.id
    path.write_bytes(job.to_line())
    return path


def id_of(aliases: Aliases, key: str) -> str | None:
    record = aliases.live(key)
    return record.job.id if record else None


def test_a_job_is_known_by_its_alias_wherever_it_was_renamed_to(tmp_path: Path, aliases: Aliases) -> None:
    job = make_job()
    path = file_of(tmp_path, job)
    assert aliases.live(KEY) is None
    assert aliases.make(str(path), KEY)

    path = path.rename(tmp_path / "elsewhere")
    with path.open("ab") as file:
        file.write(AGAIN)

    record = aliases.live(KEY)
    assert record is not None
    assert record.job == job
    assert len(record.events) == 1


def test_a_key_is_taken_once(tmp_path: Path, aliases: Aliases) -> None:
    first, second = make_job(), make_job()

    assert aliases.make(str(file_of(tmp_path, first)), KEY)
    assert not aliases.make(str(file_of(tmp_path, second)), KEY)
    assert id_of(aliases, KEY) == first.id


def test_one_of_many_that_want_a_key_at_once_gets_it(tmp_path: Path, aliases: Aliases) -> None:
    jobs = [make_job() for _ in range(8)]
    paths = [str(file_of(tmp_path, job)) for job in jobs]
    start = Barrier(len(jobs))
    won: list[bool] = []

    def take(path: str) -> None:
        start.wait()
        won.append(aliases.make(path, KEY))

    threads = [Thread(target=take, args=(path,)) for path in paths]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert won.count(True) == 1
    assert len(won) == len(jobs)


def test_the_alias_of_an_ended_job_is_void_and_goes(tmp_path: Path, aliases: Aliases) -> None:
    path = file_of(tmp_path, make_job())
    aliases.make(str(path), KEY)
    with path.open("ab") as file:
        file.write(ENDED)

    assert aliases.live(KEY) is None
    assert path.stat().st_nlink == 1


def test_the_alias_of_an_ended_job_does_not_keep_a_new_one_from_its_key(tmp_path: Path, aliases: Aliases) -> None:
    path = file_of(tmp_path, make_job())
    aliases.make(str(path), KEY)
    with path.open("ab") as file:
        file.write(ENDED)
    job = make_job()

    assert aliases.make(str(file_of(tmp_path, job)), KEY)
    assert id_of(aliases, KEY) == job.id


def test_the_alias_of_a_damaged_job_is_void_and_goes(tmp_path: Path, aliases: Aliases) -> None:
    path = file_of(tmp_path, make_job())
    aliases.make(str(path), KEY)
    path.write_bytes(b"\0" * 100)

    assert aliases.live(KEY) is None
    assert path.stat().st_nlink == 1


def test_a_job_that_is_gone_gets_no_alias(tmp_path: Path, aliases: Aliases) -> None:
    with pytest.raises(FileNotFoundError):
        aliases.make(str(tmp_path / "gone"), KEY)


def test_a_job_gets_a_second_alias_by_its_first(tmp_path: Path, aliases: Aliases) -> None:
    job = make_job()
    aliases.make(str(file_of(tmp_path, job)), KEY)

    aliases.add(KEY, OTHER_KEY)

    assert id_of(aliases, OTHER_KEY) == job.id


def test_adding_to_a_key_that_nobody_has_does_nothing(aliases: Aliases) -> None:
    aliases.add(KEY, OTHER_KEY)

    assert aliases.live(OTHER_KEY) is None


def test_a_job_drops_its_own_aliases_only(tmp_path: Path, aliases: Aliases) -> None:
    job = make_job("a", cancellation_key=KEY)
    twin = make_job("a", cancellation_key=KEY)
    aliases.make(str(file_of(tmp_path, job)), job.key)
    aliases.make(str(file_of(tmp_path, twin)), KEY)

    aliases.drop(job)

    assert aliases.live(job.key) is None
    assert id_of(aliases, KEY) == twin.id


def test_dropping_twice_harms_nothing(tmp_path: Path, aliases: Aliases) -> None:
    job = make_job("a")
    aliases.make(str(file_of(tmp_path, job)), job.key)
    aliases.drop(job)

    aliases.drop(job)

    assert aliases.live(job.key) is None


def never(job_id: str) -> bool:
    raise AssertionError(f"nobody asks for {job_id}")


def test_an_old_alias_is_swept_whose_job_somebody_took_away(tmp_path: Path, aliases: Aliases) -> None:
    taken, there = make_job(), make_job()
    aliases.make(str(file_of(tmp_path, taken)), KEY)
    aliases.make(str(file_of(tmp_path, there)), OTHER_KEY)

    assert list(aliases.sweep(0.0, lambda job_id: job_id == taken.id)) == []
    assert list(aliases.sweep(2**40, lambda job_id: job_id == taken.id)) == [KEY]
    assert aliases.live(KEY) is None
    assert id_of(aliases, OTHER_KEY) == there.id


def test_the_aliases_of_ended_jobs_are_swept(tmp_path: Path, aliases: Aliases) -> None:
    live, ended = make_job(), make_job()
    aliases.make(str(file_of(tmp_path, live)), KEY)
    path = file_of(tmp_path, ended)
    aliases.make(str(path), OTHER_KEY)
    with path.open("ab") as file:
        file.write(ENDED)

    assert list(aliases.sweep(0.0, never)) == [OTHER_KEY]
    assert id_of(aliases, KEY) == live.id


def test_foreign_files_are_neither_swept_nor_in_the_way(tmp_path: Path, aliases: Aliases) -> None:
    aliases.make(str(file_of(tmp_path, make_job())), KEY)
    foreign = [
        tmp_path / "aliases" / ".DS_Store",
        tmp_path / "aliases" / "ab" / ".DS_Store",
        tmp_path / "aliases" / "ab" / "abba",
        tmp_path / "aliases" / "lost+found" / "abba",
    ]
    for each in foreign:
        each.parent.mkdir(exist_ok=True)
        each.write_bytes(b"foreign")

    assert list(aliases.sweep(0.0, never)) == []
    assert all(each.exists() for each in foreign)
    assert aliases.live(KEY) is not None
