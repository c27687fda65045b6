"""The waiting jobs on disk: in order, in buckets, whatever else lies there."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from slidehook.jobs.files import durable
from slidehook.jobs.files.names import JobName
from slidehook.jobs.files.waiting import ALONE, BUCKET_SIZE, LANE_S, Enqueuer, Shard, WaitingJobs, find, walk
from slidehook.jobs.job import JobState, new_job_id

MANY = 2000
START_NS = 1_700_000_000_000_000_000


class Room:
    """A folder `waiting`, one where jobs come from, and one where they are taken to."""

    def __init__(self, root: Path) -> None:
        self.root, self._source, self._target = root / "waiting", root / "from", root / "taken"
        for each in (self.root, self._source, self._target):
            each.mkdir()
        self.enqueuer = Enqueuer(str(self.root), trust_times=True)

    def source(self, age_ns: int, priority: int = 5) -> tuple[str, JobName]:
        """Make a job that has not entered yet."""
        name = JobName(JobState.WAITING, new_job_id(age_ns), priority, "nuclei", 0)
        path = self._source / str(name)
        path.touch()
        return str(path), name

    def put(self, age_ns: int, priority: int = 5) -> Path:
        path, name = self.source(age_ns, priority)
        return Path(self.enqueuer.enter(path, name))

    def look(self, *, trust_times: bool = True, shard: Shard = ALONE) -> WaitingJobs:
        return WaitingJobs(str(self.root), trust_times=trust_times, shard=lambda: shard)

    def take(self, room: WaitingJobs) -> JobName | None:
        """Take the first job; None where there is none."""
        for path, name in room.first():
            try:
                Path(path).rename(self._target / str(name))
            except FileNotFoundError:
                room.lost()
                continue
            room.took()
            return name
        return None

    def drain(self, room: WaitingJobs) -> Iterator[JobName]:
        while (name := self.take(room)) is not None:
            yield name

    def buckets(self, priority: int = 5) -> list[str]:
        return sorted(each.name for each in (self.root / str(priority)).iterdir())


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path)


@pytest.mark.parametrize("trust_times", [True, False])
def test_two_thousand_jobs_come_in_order_whatever_order_they_entered_in(room: Room, trust_times: bool) -> None:
    ages = [START_NS + number for number in range(MANY)]
    random.Random(4).shuffle(ages)  # noqa: S311 - any order will do
    expected = sorted((number % 3, age) for number, age in enumerate(ages))
    for number, age in enumerate(ages):
        room.put(age, priority=number % 3)

    taken = [(name.priority, int(name.age, 16)) for name in room.drain(room.look(trust_times=trust_times))]

    assert taken == expected


def test_a_bucket_takes_so_many_jobs_and_then_another_is_begun(room: Room) -> None:
    for number in range(BUCKET_SIZE):
        room.put(START_NS + number)
    assert room.buckets() == [f"{START_NS:016x}"]

    room.put(START_NS + BUCKET_SIZE)

    assert room.buckets() == [f"{START_NS:016x}", f"{START_NS + BUCKET_SIZE:016x}"]


def test_no_bucket_grows_beyond_its_size_while_jobs_come_in_order(room: Room) -> None:
    for number in range(MANY):
        room.put(START_NS + number)

    sizes = [len(names) for _, names in walk(str(room.root))]
    assert len(sizes) == -(-MANY // BUCKET_SIZE)
    assert max(sizes) == BUCKET_SIZE


def test_a_job_older_than_all_others_comes_first(room: Room) -> None:
    room.put(START_NS)
    look = room.look()
    room.put(START_NS - 10**9 * 3600)

    assert [int(name.age, 16) for name in room.drain(look)] == [START_NS - 10**9 * 3600, START_NS]


def test_empty_buckets_go_and_the_newest_stays_for_the_next_job(room: Room) -> None:
    for number in range(3 * BUCKET_SIZE):
        room.put(START_NS + number)
    look = room.look()

    assert len(list(room.drain(look))) == 3 * BUCKET_SIZE

    assert room.buckets() == [f"{START_NS + 2 * BUCKET_SIZE:016x}"]


def test_a_higher_priority_put_later_is_seen_at_the_next_claim(room: Room) -> None:
    room.put(START_NS)
    room.put(START_NS + 1)
    look = room.look()
    assert room.take(look) is not None

    room.put(START_NS + 2, priority=0)

    taken = [name.priority for name in room.drain(look)]
    assert taken == [0, 5]


def test_an_older_job_put_between_two_claims_is_seen_at_the_next(room: Room) -> None:
    for number in range(100, 200, 2):
        room.put(START_NS + number)
    look = room.look()
    late = []
    for number in range(101, 120, 2):
        room.take(look)
        room.put(START_NS + number - 100)
        late.append(room.take(look))

    assert [int(name.age, 16) - START_NS for name in late if name] == list(range(1, 20, 2))


def test_two_claimers_take_each_job_once(room: Room) -> None:
    for number in range(BUCKET_SIZE + 10):
        room.put(START_NS + number)
    looks = [room.look(), room.look()]
    taken: list[str] = []
    while name := room.take(looks[len(taken) % 2]):
        taken.append(name.job_id)

    assert len(set(taken)) == len(taken) == BUCKET_SIZE + 10
    assert room.take(looks[0]) is None
    assert room.take(looks[1]) is None


def test_a_bucket_removed_under_a_put_is_made_again(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when a worker removes the empty bucket right after the webserver has chosen it."""
    first = room.put(START_NS)
    first.unlink()
    removed: list[str] = []

    def rename(source: str, target: str) -> None:
        if not removed:
            removed.append(target)
            first.parent.rmdir()
        durable.rename(source, target)

    monkeypatch.setattr("slidehook.jobs.files.waiting.rename", rename)
    path = room.put(START_NS + 1)

    assert removed
    assert path.is_file()
    assert [name.job_id for name in room.drain(room.look())] == [path.name[:25]]


def test_a_job_that_is_gone_does_not_enter(room: Room) -> None:
    path, name = room.source(START_NS)
    Path(path).unlink()

    with pytest.raises(FileNotFoundError):
        room.enqueuer.enter(path, name)


@pytest.mark.parametrize(
    "place", ["waiting", "waiting/5", "waiting/5/BUCKET", "waiting/0"], ids=["root", "priority", "bucket", "new"]
)
@pytest.mark.parametrize("kind", ["file", "folder"])
@pytest.mark.parametrize("text", [".DS_Store", "00", "lost+found", "zzz", "5.old", f"{START_NS:016x}.tmp"])
def test_foreign_files_and_folders_harm_nothing(tmp_path: Path, room: Room, place: str, kind: str, text: str) -> None:
    room.put(START_NS)
    parent = tmp_path / place.replace("BUCKET", room.buckets()[0])
    parent.mkdir(exist_ok=True)
    foreign = parent / text
    if kind == "folder":
        foreign.mkdir()
        (foreign / "inside").touch()
    else:
        foreign.touch()

    ages = [START_NS - 5, START_NS + 1, START_NS + 2]
    for age in ages:
        room.put(age)
    room.put(START_NS + 3, priority=0)
    found = find(str(room.root), f"{START_NS:016x}")
    expected = [START_NS + 3, START_NS - 5, START_NS, START_NS + 1, START_NS + 2]
    look = room.look()

    assert found is not None
    assert [int(name.age, 16) for name in room.drain(look)] == expected
    assert foreign.exists()
    assert not [each for each in tmp_path.glob("waiting/*/*/*") if each.parent == foreign and each.name != "inside"]


def test_a_job_is_found_by_its_id_in_any_bucket(room: Room) -> None:
    paths = [room.put(START_NS + number, priority=number % 2) for number in range(2 * BUCKET_SIZE + 10)]

    for path in (paths[0], paths[1], paths[BUCKET_SIZE], paths[-1]):
        found = find(str(room.root), path.name[:25])
        assert found is not None
        assert found[0] == str(path)
    assert find(str(room.root), new_job_id(START_NS)) is None


def test_an_empty_room_gives_nothing(room: Room) -> None:
    assert room.take(room.look()) is None
    assert list(walk(str(room.root))) == []


def lose(room: Room, look: WaitingJobs) -> None:
    """Have another claimer be faster at the job that `look` gives next."""
    path, name = next(look.first())
    Path(path).rename(room._target / str(name))
    look.lost()


def test_every_job_is_in_one_lane() -> None:
    for count in (1, 2, 8):
        shards = [Shard(number, count) for number in range(count)]
        for number in range(100):
            job = new_job_id(START_NS + number)
            assert [shard.has(job) for shard in shards].count(True) == 1


def test_who_loses_while_it_claims_fast_keeps_to_its_lane_and_still_takes_all(room: Room) -> None:
    mine = Shard(1, 3)
    ids = [Path(room.put(START_NS + number)).name for number in range(90)]
    look = room.look(shard=mine)
    assert str(room.take(look)) == ids[0]

    lose(room, look)

    taken = [str(name) for name in room.drain(look)]
    own = [each for each in ids[2:] if mine.has(each)]
    assert len(own) > 10
    assert taken == own + [each for each in ids[2:] if not mine.has(each)]


def test_who_claims_now_and_then_takes_the_next_job_after_a_loss(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [Path(room.put(START_NS + number)).name for number in range(30)]
    look = room.look(shard=Shard(1, 3))
    assert str(room.take(look)) == ids[0]
    now = time.monotonic() + 2 * LANE_S
    monkeypatch.setattr(time, "monotonic", lambda: now)

    lose(room, look)

    assert str(room.take(look)) == ids[2]


def test_who_loses_the_last_job_that_it_knows_of_looks_again(room: Room) -> None:
    room.put(START_NS)
    room.put(START_NS + 1)
    look = room.look(shard=Shard(0, 2))
    room.take(look)
    lose(room, look)
    later = {room.put(START_NS + 2 + number).name for number in range(20)}

    assert {str(name) for name in room.drain(look)} == later


@pytest.mark.parametrize("trust_times", [True, False])
def test_an_older_job_that_comes_while_in_a_lane_is_seen_soon(
    room: Room, monkeypatch: pytest.MonkeyPatch, trust_times: bool
) -> None:
    for number in range(30):
        room.put(START_NS + number)
    look = room.look(shard=Shard(1, 3), trust_times=trust_times)
    room.take(look)
    lose(room, look)
    room.take(look)
    older = room.put(START_NS - 1).name
    now = time.monotonic() + LANE_S
    monkeypatch.setattr(time, "monotonic", lambda: now)

    assert str(room.take(look)) == older


@pytest.mark.parametrize("trust_times", [True, False])
def test_jobs_of_several_putting_processes_come_in_order(room: Room, trust_times: bool) -> None:
    doors = [Enqueuer(str(room.root), trust_times=trust_times) for _ in range(3)]
    choice = random.Random(7)  # noqa: S311 - any order will do
    for number in range(MANY):
        path, name = room.source(START_NS + number)
        choice.choice(doors).enter(path, name)

    taken = [int(name.age, 16) - START_NS for name in room.drain(room.look())]

    assert taken == list(range(MANY))


def test_a_bucket_that_claimers_removed_is_made_again(room: Room) -> None:
    room.put(START_NS)
    list(room.drain(room.look()))
    for bucket in room.buckets():
        (room.root / "5" / bucket).rmdir()

    path = room.put(START_NS + 1)

    assert path.exists()
    assert len(list(room.drain(room.look()))) == 1


def test_who_puts_alone_lists_no_bucket_again(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    room.put(START_NS)
    bucket = str(room.root / "5" / room.buckets()[0])
    listed: list[str] = []
    listdir = os.listdir

    def counting(path: str) -> list[str]:
        listed.append(str(path))
        return listdir(path)

    monkeypatch.setattr(os, "listdir", counting)
    for number in range(1, BUCKET_SIZE - 1):
        room.put(START_NS + number)

    assert listed.count(bucket) <= 1
