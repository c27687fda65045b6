from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from pydantic import SecretStr

from slidehook.dpat.iaapi.client import DpatServers
from slidehook.dpat.iaapi.models import Token
from slidehook.dpat.system import service_account
from slidehook.dpat.tokens import CheckedSecrets, ServiceAccount, WithAccount
from slidehook.errors import AccessExpired, ClaimLost
from slidehook.jobs.contract import Claim
from slidehook.jobs.files.queue import FileQueue
from slidehook.jobs.files.source import FileSource
from slidehook.jobs.job import Job
from slidehook.settings import Settings
from tests.iaapi.little_dpat import LittleDpat, Reply
from worker.claims import JobCancelled
from worker.job_secrets import InterruptibleSecrets, JobSecrets
from worker.shutdown import Interruption


@pytest.fixture
def claim(queue: FileQueue, source: FileSource, job: Job) -> Claim:
    queue.put(job)
    claim = source.claim()
    assert claim is not None
    return claim


@pytest.fixture
def account() -> ServiceAccount:
    return ServiceAccount(lambda url, app_id: Token(access_token="the-accounts"))


def with_account(claim: Claim, account: ServiceAccount) -> WithAccount:
    """The job's tokens as DPAT's client has them where a site has an account."""
    return WithAccount(JobSecrets(claim), account, claim.job.address, claim.job.app_id)


def ask_again(queue: FileQueue, job: Job, token: str) -> None:
    """Have somebody ask for the same work with a token of his own."""
    assert queue.hold(job.model_copy(update={"secret": token})).coalesced


def test_a_job_begins_with_its_own_token(claim: Claim, account: ServiceAccount) -> None:
    assert with_account(claim, account).secret() == "the-token"


def test_a_newer_requests_token_goes_before_the_service_accounts(
    queue: FileQueue, job: Job, claim: Claim, account: ServiceAccount
) -> None:
    tokens = with_account(claim, account)
    ask_again(queue, job, "newer")
    assert tokens.secret() == "the-token"
    assert tokens.instead_of("the-token") == tokens.secret() == "newer"
    assert tokens.instead_of("newer") == tokens.secret() == "the-accounts"
    assert tokens.instead_of("the-accounts") is None
    ask_again(queue, job, "newest")
    assert tokens.instead_of("the-accounts") == tokens.secret() == "newest"


def test_a_newer_request_with_the_same_token_is_no_help(queue: FileQueue, job: Job, claim: Claim) -> None:
    tokens = JobSecrets(claim)
    ask_again(queue, job, "the-token")
    assert tokens.instead_of("the-token") is None
    with pytest.raises(AccessExpired):
        tokens.secret()


def test_a_token_that_another_thread_has_read_is_not_forgotten_at_the_end(
    queue: FileQueue, job: Job, claim: Claim
) -> None:
    tokens = JobSecrets(claim)
    assert tokens.instead_of("the-token") is None
    ask_again(queue, job, "newer")
    assert tokens.instead_of("the-token") == "newer"  # for the thread that shows progress
    assert tokens.close()


def test_a_token_that_dpat_refuses_is_none_to_go_on_with(queue: FileQueue, job: Job, claim: Claim) -> None:
    tokens = JobSecrets(claim)
    ask_again(queue, job, "newer")
    for each in ("the-token", "newer"):
        tokens.instead_of(each)
    assert not tokens.close()


def test_what_comes_after_the_end_is_read_by_no_thread_and_wakes_the_job(
    queue: FileQueue, source: FileSource, job: Job, claim: Claim
) -> None:
    tokens = JobSecrets(claim)
    assert tokens.instead_of("the-token") is None
    assert not tokens.close()
    ask_again(queue, job, "newer")
    assert tokens.instead_of("the-token") is None
    claim.park("waiting for access")
    woken = source.claim()
    assert woken is not None
    assert woken.secret() == "newer"


def test_without_an_account_nothing_follows_the_newest_request(claim: Claim) -> None:
    assert JobSecrets(claim).instead_of("the-token") is None


def test_a_job_without_any_token_has_the_accounts(
    queue: FileQueue, source: FileSource, job: Job, account: ServiceAccount
) -> None:
    queue.put(job.model_copy(update={"secret": "*" * 9}))  # as an ended job that an operator tries again
    claim = source.claim()
    assert claim is not None
    assert with_account(claim, account).secret() == "the-accounts"
    with pytest.raises(AccessExpired):
        JobSecrets(claim).secret()


def test_who_lost_the_claim_has_no_token_for_the_slide(queue: FileQueue, job: Job, claim: Claim) -> None:
    tokens = CheckedSecrets(JobSecrets(claim), claim.check)
    assert tokens.secret() == "the-token"
    ask_again(queue, job, "newer")
    assert tokens.instead_of("the-token") == "newer"
    claim.give_back()
    with pytest.raises(ClaimLost):
        tokens.secret()
    with pytest.raises(ClaimLost):
        tokens.instead_of("newer")


def test_the_account_is_the_sites_and_asks_the_jobs_dpat(dpat: LittleDpat) -> None:
    settings = Settings(_env_file=None, dpat_user="us", dpat_password=SecretStr("geheim"))
    dpat.answer("POST", "/token", Reply(body={"accessToken": "T"}))
    account = service_account(settings, DpatServers(settings))
    assert account is not None
    assert account.token(dpat.url, "an-app") == "T"
    assert dpat.calls[0].query == {"applicationId": ["an-app"]}


def test_a_site_may_have_no_account(settings: Settings) -> None:
    assert service_account(settings, DpatServers(settings)) is None


@dataclass
class SilentDpat:
    """A DPAT that gives no token until it goes on: the account that asks it, and whether it was asked."""

    account: ServiceAccount
    asked: threading.Event


@pytest.fixture
def silent() -> Iterator[SilentDpat]:
    asked, go_on = threading.Event(), threading.Event()

    def fetch(url: str, app_id: str) -> Token:
        asked.set()
        go_on.wait(120)
        return Token(access_token="late")

    yield SilentDpat(ServiceAccount(fetch), asked)
    go_on.set()


def test_a_fetch_of_a_token_ends_with_the_job(claim: Claim, leaving: Interruption, silent: SilentDpat) -> None:
    tokens = InterruptibleSecrets(with_account(claim, silent.account), leaving)

    def cancel() -> None:
        silent.asked.wait(120)
        leaving.drop(JobCancelled("cancelled"))

    threading.Thread(target=cancel).start()
    with pytest.raises(JobCancelled):
        tokens.instead_of("the-token")


def test_who_has_a_requests_token_waits_for_no_fetch(
    queue: FileQueue, job: Job, claim: Claim, silent: SilentDpat
) -> None:
    secrets = JobSecrets(claim)
    tokens = WithAccount(secrets, silent.account, job.address, job.app_id)
    threading.Thread(target=tokens.instead_of, args=("the-token",), daemon=True).start()
    assert silent.asked.wait(120)
    ask_again(queue, job, "newer")
    assert tokens.secret() == "newer"
    assert secrets.close()


def test_the_wait_between_two_tries_to_fetch_a_token_is_the_workers(dpat: LittleDpat, settings: Settings) -> None:
    class Stopped(Exception):
        pass

    def sleep(_: float) -> None:
        raise Stopped

    settings = settings.model_copy(update={"dpat_user": "u", "dpat_password": SecretStr("p")})
    dpat.answer("POST", "/token", Reply(503))
    account = service_account(settings, DpatServers(settings), sleep=sleep)
    assert account is not None
    with pytest.raises(Stopped):
        account.token(dpat.url, "an-app")
