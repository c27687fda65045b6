"""The table of states, and a job's file: written, read, cut off, freed of its token."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from slidehook.errors import IllegalTransition, JobDamaged
from slidehook.jobs.job import (
    BLANK,
    ENDED,
    TRANSITIONS,
    AttemptEnded,
    Ended,
    Job,
    JobState,
    Noted,
    blank_secret,
    check_transition,
    digest,
    new_job_id,
    parse_record,
)
from slidehook.models import Point, Polygon, TaggedPolygonInput
from slidehook.models.inputs import PolygonContent
from tests.jobs.making import make_job

W, A, P, E = JobState.WAITING, JobState.ACTIVE, JobState.PARKED, JobState.ENDING
D, F, C, X = JobState.DONE, JobState.FAILED, JobState.CANCELLED, JobState.WITHDRAWN
ALLOWED = {(W, A), (A, A), (A, W), (A, P), (A, E), (A, X), (P, W), (E, E), (E, D), (E, F), (E, C), (F, W)}
"""Every change of state that the design knows, written down a second time."""

EVENTS: list[AttemptEnded | Noted | Ended] = [
    AttemptEnded(at=1.5, attempt=1, reason="the worker died"),
    Noted(at=2.5, attempt=2, noted={"id": 17, "version_id": "v-1"}),
    Ended(at=3.5, attempt=2, outcome=JobState.DONE, reason="12 mm²", seconds=1.0),
]
text = st.text(st.characters(exclude_categories=["Cs"]))


def file_of(job: Job, *events: AttemptEnded | Noted | Ended) -> bytes:
    return job.to_line() + b"".join(each.model_dump_json().encode() + b"\n" for each in events)


def blanked(content: bytes) -> bytes:
    place = blank_secret(content)
    assert place is not None
    offset, stars = place
    return content[:offset] + stars + content[offset + len(stars) :]


# --- states


@pytest.mark.parametrize(("before", "after"), list(itertools.product(JobState, JobState)))
def test_only_the_changes_of_state_in_the_table_exist(before: JobState, after: JobState) -> None:
    if (before, after) in ALLOWED:
        check_transition(before, after)
    else:
        with pytest.raises(IllegalTransition, match=f"that is {before} can't become {after}"):
            check_transition(before, after)


def test_every_state_has_its_row() -> None:
    assert set(TRANSITIONS) == set(JobState)


def test_every_job_can_reach_every_end_and_none_else_rests() -> None:
    reachable = {W}
    while (further := reachable.union(*(TRANSITIONS[each] for each in reachable))) != reachable:
        reachable = further

    assert reachable == set(JobState)
    assert {each for each in JobState if TRANSITIONS[each] <= {W}} - {P} == ENDED | {X}


# --- reading


def test_a_job_reads_back_as_it_was_written() -> None:
    job = make_job("Präparat 1/2", cancellation_key="ab" * 20)

    record = parse_record(file_of(job, *EVENTS))

    assert record.job == job
    assert record.events == EVENTS


def test_what_the_user_sent_along_reads_back_whole() -> None:
    context = {"a": None, "b": [1, 2.5, None, {"c": None}], "ä": "\u2028"}
    job = make_job().model_copy(update={"context": context})

    assert parse_record(job.to_line()).job.context == context


@pytest.mark.parametrize("end", range(len(EVENTS) + 1))
def test_a_last_line_that_was_cut_off_is_passed_over(end: int) -> None:
    job = make_job()
    whole = file_of(job, *EVENTS[:end])
    for length in range(len(whole), len(file_of(job, *EVENTS[: end + 1]))):
        assert parse_record(file_of(job, *EVENTS)[:length]).events == EVENTS[:end]


def test_a_line_that_was_cut_off_hides_none_of_those_after_it() -> None:
    job = make_job()
    cut = EVENTS[0].model_dump_json().encode()[:-20]

    record = parse_record(job.to_line() + cut + b"\n" + file_of(job, *EVENTS[1:]).partition(b"\n")[2])

    assert record.events == EVENTS[1:]


@pytest.mark.parametrize("length", [0, 1, 30, -1])
def test_a_cut_first_line_is_damage(length: int) -> None:
    with pytest.raises(JobDamaged, match="ends before its first line"):
        parse_record(make_job().to_line()[:length])


@pytest.mark.parametrize(
    "head",
    [
        b"\n",
        b"\0" * 300 + b"\n",
        b"{}\n",
        b"[]\n",
        b"\xff\xfe{}\n",
        b"#!/bin/sh\n",
        make_job().to_line().replace(b'"format":2', b'"format":3'),
        make_job().to_line().replace(b'"priority":5', b'"priority":10'),
        make_job().to_line().replace(b'"app_id":"tissue-area"', b'"app_id":"../etc"'),
        make_job().to_line().replace(b'"type":"wholeSlide"', b'"type":"halfSlide"'),
    ],
)
def test_a_first_line_that_is_no_job_of_this_format_is_damage_and_says_why(head: bytes) -> None:
    with pytest.raises(JobDamaged, match=r"can't be read: .+: .+"):
        parse_record(head + b'{"event":"ended"}\n')


def test_an_event_that_is_not_known_is_damage() -> None:
    with pytest.raises(JobDamaged):
        parse_record(make_job().to_line() + b'{"event":"forgotten","at":1,"attempt":1}\n')


def test_damage_never_shows_the_token() -> None:
    line = make_job(token="very-secret").to_line().replace(b'"format":2', b'"format":3')

    with pytest.raises(JobDamaged) as caught:
        parse_record(line)

    assert "very-secret" not in str(caught.value)


@pytest.mark.parametrize(
    "values",
    [{"id": "x"}, {"app_id": "A"}, {"app_id": "a" * 65}, {"priority": -1}, {"priority": 10}, {"trigger": "else"}],
)
def test_a_job_with_a_wrong_field_is_not_made(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Job.model_validate(make_job().model_dump() | values)


def test_the_last_noted_result_counts() -> None:
    later = Noted(at=9.0, attempt=3, noted={"id": 17, "version_id": "v-2"})

    assert parse_record(file_of(make_job(), EVENTS[1], later, EVENTS[0])).noted == later.noted
    assert parse_record(file_of(make_job(), EVENTS[0])).noted is None


def test_a_job_has_ended_when_its_last_event_says_so() -> None:
    job = make_job()

    assert parse_record(file_of(job, *EVENTS)).ended
    assert not parse_record(file_of(job, EVENTS[2], EVENTS[0])).ended
    assert not parse_record(file_of(job)).ended


# --- tokens


@given(token=text, context=st.none() | st.dictionaries(text, text), slide_id=text)
def test_a_blanked_job_is_still_valid_and_holds_no_token(token: str, context: Any, slide_id: str) -> None:
    job = make_job().model_copy(update={"secret": token, "context": context, "slide_id": slide_id})

    content = blanked(file_of(job, *EVENTS))

    assert len(content) == len(file_of(job, *EVENTS))
    record = parse_record(content)
    assert not record.job.has_secret
    assert set(record.job.secret) <= {BLANK}
    assert record.job.model_copy(update={"secret": token}) == job
    assert record.events == EVENTS


@pytest.mark.parametrize("token", ['"secret":"', '\\"}', '"}', "\\", '","secret":"x'])
def test_a_token_that_looks_like_the_end_of_the_line_is_blanked_whole(token: str) -> None:
    content = blanked(make_job(token=token).to_line())

    assert not parse_record(content).job.has_secret
    assert json.loads(content)["secret"].strip(BLANK) == ""


def test_a_field_that_looks_like_the_token_is_left_alone() -> None:
    job = make_job("a", token="secret").model_copy(update={"context": {"secret": "the user's"}})

    record = parse_record(blanked(job.to_line()))

    assert record.job.context == {"secret": "the user's"}
    assert not record.job.has_secret


def test_blanking_twice_changes_nothing() -> None:
    content = blanked(make_job().to_line())

    assert blanked(content) == content


def test_there_is_nothing_to_blank_in_a_file_without_a_token() -> None:
    assert blank_secret(b"") is None
    assert blank_secret(b"{}\n") is None


def test_a_token_is_not_shown_by_repr() -> None:
    assert "secret" not in repr(make_job(token="secret"))


# --- keys and ids


def test_the_key_is_the_same_after_reading_back() -> None:
    points = [Point(x=0.1, y=1 / 3), Point(x=1e-9, y=0.0), Point(x=1.0, y=123456789.123)]
    content = PolygonContent(polygon=Polygon(points=points), tags=["tumour"], tag_index=None)
    job = make_job("a", work=TaggedPolygonInput(type="taggedPolygon", content=content))

    assert parse_record(job.to_line()).job.key == job.key


def test_the_key_does_not_change_from_one_process_to_the_next() -> None:
    """Two hosts must agree on it, and so must tomorrow's version: this very value is in queues out there."""
    job = make_job("S-1", dpat="https://dpat.example/ia")
    code = "import sys; from slidehook.jobs.job import parse_record as p; print(p(sys.stdin.buffer.read()).job.key)"
    env = os.environ | {"PYTHONHASHSEED": "4"}

    there = subprocess.run(
        [sys.executable, "-c", code], input=job.to_line(), capture_output=True, check=True, env=env
    )

    assert there.stdout.decode().strip() == job.key
    assert job.key == "00a17a9e28c4298dd9da7d349f82df0367ce7990"


@given(st.lists(st.text(), max_size=4))
def test_a_digest_is_that_of_the_parts_json(parts: list[str]) -> None:
    assert digest(*parts) == hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:40]


def test_the_key_can_not_be_forged_by_moving_the_seams() -> None:
    assert digest("a", "bc") != digest("ab", "c")
    assert digest('a","b') != digest("a", "b")


@given(st.lists(st.integers(0, 2**64 - 1), min_size=2, max_size=2))
def test_ids_sort_by_age(times: list[int]) -> None:
    older, newer = sorted(times)

    assert new_job_id(older)[:16] <= new_job_id(newer)[:16]
    assert int(new_job_id(older)[:16], 16) == older


def test_ids_of_one_moment_differ() -> None:
    assert len({new_job_id(1) for _ in range(100)}) == 100
