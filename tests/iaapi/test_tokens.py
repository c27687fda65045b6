from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from slidehook.dpat.errors import DpatRefused, DpatUnavailable, Malformed, NotFound, TokenExpired
from slidehook.dpat.iaapi.client import DpatServer
from slidehook.dpat.iaapi.models import ResultRecord, Token
from slidehook.dpat.tokens import EARLY_S, MAX_OTHER_TOKENS, NEW_S, REFUSAL_S, ServiceAccount
from tests.iaapi.little_dpat import Call, LittleDpat, Reply

DPAT, APP = "https://dpat.example/v1", "tissue-area"
INFO = "/slides/S-1/info"


class FakeTokenSource:
    """Returns the test's tokens, newest last; records the refused ones."""

    def __init__(self, *tokens: str) -> None:
        self.left = list(tokens)
        self.refused: list[str] = []

    def secret(self) -> str:
        if not self.left:
            raise TokenExpired("no token is left")
        return self.left[0]

    def instead_of(self, refused: str) -> str | None:
        self.refused.append(refused)
        self.left = [each for each in self.left if each != refused]
        return self.left[0] if self.left else None


def taking(dpat: LittleDpat, *good: str, status: int = 401) -> Callable[[Call], Reply]:
    """Make DPAT accept only these tokens."""

    def answer(call: Call) -> Reply:
        token = call.headers["Authorization"].removeprefix("Bearer ")
        return dpat.usual(call) if token in good else Reply(status)

    return answer


@pytest.mark.parametrize("status", [401, 403])
def test_a_call_with_a_refused_token_is_repeated_with_another(
    dpat: LittleDpat, server: DpatServer, status: int
) -> None:
    dpat.answer("GET", INFO, taking(dpat, "new", status=status))
    purse = FakeTokenSource("old", "new")
    client = server.client(purse)
    assert client.slide_info("S-1").id == "S-1"
    assert purse.refused == ["old"]
    assert client.slide_info("S-1").id == "S-1"
    assert [call.headers["Authorization"] for call in dpat.calls] == ["Bearer old", "Bearer new", "Bearer new"]
    assert [call.headers["X-Sectra-ApiVersion"] for call in dpat.calls] == ["1.5", "1.5", "1.10"]


def test_the_service_accounts_token_is_used_when_newer_tokens_have_expired(
    dpat: LittleDpat, server: DpatServer
) -> None:
    dpat.answer("GET", INFO, taking(dpat, "the-accounts"))
    purse = FakeTokenSource("old", "newer", "the-accounts")
    assert server.client(purse).slide_info("S-1").id == "S-1"
    assert purse.refused == ["old", "newer"]


def test_the_number_of_other_tokens_is_limited(dpat: LittleDpat, server: DpatServer) -> None:
    dpat.answer("GET", INFO, taking(dpat, "none"))
    with pytest.raises(TokenExpired, match="401"):
        server.client(FakeTokenSource(*(f"token-{number}" for number in range(9))), tries=5).slide_info("S-1")
    assert len(dpat.calls) == 1 + MAX_OTHER_TOKENS


def test_without_another_token_the_refusal_stands(dpat: LittleDpat, server: DpatServer) -> None:
    dpat.answer("GET", INFO, taking(dpat, "none"))
    client = server.client(FakeTokenSource("old"))
    with pytest.raises(TokenExpired, match="401"):
        client.slide_info("S-1")
    with pytest.raises(TokenExpired, match="no token is left"):
        client.slide_info("S-1")
    assert len(dpat.calls) == 1


def test_a_new_result_is_sent_again_whole_and_stored_once(
    dpat: LittleDpat, server: DpatServer, record: ResultRecord
) -> None:
    dpat.answer("POST", f"/applications/{APP}/results", taking(dpat, "new"))
    stored = server.client(FakeTokenSource("old", "new")).create_result(APP, record)
    first, second = dpat.made("POST")
    assert first.json == second.json
    assert list(dpat.results) == [1] == [stored.id]


def test_an_update_is_repeated_by_the_method_that_the_server_accepts(
    dpat: LittleDpat, server: DpatServer, record: ResultRecord
) -> None:
    stored = server.client("any").create_result(APP, record)
    one = f"/applications/{APP}/results/1"
    dpat.answer("PATCH", one, lambda call: Reply(405 if "new" in call.headers["Authorization"] else 401))
    dpat.answer("PUT", one, taking(dpat, "new"))
    dpat.answer("GET", one, taking(dpat, "new"))
    updated = server.client(FakeTokenSource("old", "new")).update_result(APP, record, stored)
    assert updated.version_id == "v2"
    assert [call.method for call in dpat.calls] == ["POST", "PATCH", "GET", "GET", "PATCH", "PUT"]


def test_a_slides_files_are_downloaded_with_a_new_token(dpat: LittleDpat, server: DpatServer) -> None:
    def files(call: Call) -> Reply:
        return Reply(body=b"x" * 100_000) if "new" in call.headers["Authorization"] else Reply(401, b"y" * 100_000)

    dpat.answer("GET", "/slides/S-1/files", files)
    with server.client(FakeTokenSource("old", "new")).files("S-1") as response:
        assert b"".join(response.iter_content(1000)) == b"x" * 100_000


def test_a_repeated_call_does_not_follow_a_redirect(dpat: LittleDpat, server: DpatServer) -> None:
    with LittleDpat() as other:
        dpat.answer("GET", INFO, Reply(401), Reply(302, headers={"Location": other.url + INFO}))
        with pytest.raises(DpatRefused, match="redirect"):
            server.client(FakeTokenSource("old", "new")).slide_info("S-1")
        assert not other.calls


# --- the service account


class TokenIssuer:
    """Issues the service account's numbered tokens, or fails as the test demands."""

    def __init__(self, expires_in: float | None = 3600) -> None:
        self.expires_in = expires_in
        self.errors: list[Exception] = []
        self.asked: list[tuple[str, str]] = []

    def __call__(self, url: str, app_id: str) -> Token:
        self.asked.append((url, app_id))
        if self.errors:
            raise self.errors.pop(0)
        return Token(access_token=f"token-{len(self.asked)}", expires_in=self.expires_in)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def issuer() -> TokenIssuer:
    return TokenIssuer()


@pytest.fixture
def account(issuer: TokenIssuer, clock: Clock) -> ServiceAccount:
    return ServiceAccount(issuer, clock=clock)


@pytest.mark.parametrize(
    ("expires_in", "renewed_after_s"), [(3600.0, 3600 - EARLY_S), (10.0, 8.0), (None, None), (0.0, None)]
)
def test_a_token_is_renewed_before_it_expires(
    issuer: TokenIssuer,
    account: ServiceAccount,
    clock: Clock,
    expires_in: float | None,
    renewed_after_s: float | None,
) -> None:
    issuer.expires_in = expires_in
    assert account.token(DPAT, APP) == "token-1"
    clock.now += (renewed_after_s or 1e6) - 0.01
    assert account.token(DPAT, APP) == "token-1"
    clock.now += 0.01
    assert account.token(DPAT, APP) == ("token-1" if renewed_after_s is None else "token-2")


def test_each_server_and_app_has_its_own_token(issuer: TokenIssuer, account: ServiceAccount) -> None:
    places = [(DPAT, APP), (DPAT, "other"), ("https://other/v1", APP)]
    assert [account.token(*each) for each in places * 2] == ["token-1", "token-2", "token-3"] * 2
    assert issuer.asked == places


def test_concurrent_threads_renew_the_token_once(clock: Clock) -> None:
    begun, go_on = threading.Semaphore(0), threading.Event()
    asked: list[str] = []

    def slow(_: str, app_id: str) -> Token:
        asked.append(app_id)
        go_on.wait(120)
        return Token(access_token=f"token-{len(asked)}", expires_in=100)

    account = ServiceAccount(slow, clock=clock)
    given: list[str | None] = []

    def ask() -> None:
        begun.release()
        given.append(account.token(DPAT, APP))

    for round_number in (1, 2):
        threads = [threading.Thread(target=ask) for _ in range(20)]
        for each in threads:
            each.start()
        for _ in threads:
            assert begun.acquire(timeout=120)
        go_on.set()
        for each in threads:
            each.join(120)
        assert len(asked) == round_number
        assert given[-20:] == [f"token-{round_number}"] * 20
        go_on.clear()
        clock.now += 90


def test_a_slow_renewal_for_one_server_blocks_no_other(clock: Clock) -> None:
    go_on, begun = threading.Event(), threading.Event()

    def fetch(url: str, _: str) -> Token:
        if url == "slow":
            begun.set()
            go_on.wait(120)
        return Token(access_token=url)

    account = ServiceAccount(fetch, clock=clock)
    waiting = threading.Thread(target=account.token, args=("slow", APP))
    waiting.start()
    assert begun.wait(120)
    assert account.token("quick", APP) == "quick"
    go_on.set()
    waiting.join(120)


def test_concurrent_refusals_renew_the_token_once(issuer: TokenIssuer, account: ServiceAccount, clock: Clock) -> None:
    assert account.token(DPAT, APP) == "token-1"
    clock.now += NEW_S
    assert [account.token(DPAT, APP, refused="token-1") for _ in range(5)] == ["token-2"] * 5
    assert len(issuer.asked) == 2


def test_a_refused_new_token_is_not_renewed_repeatedly(
    issuer: TokenIssuer, account: ServiceAccount, clock: Clock
) -> None:
    assert account.token(DPAT, APP) == "token-1"
    assert account.token(DPAT, APP, refused="token-1") is None
    clock.now += NEW_S
    assert account.token(DPAT, APP, refused="token-1") == "token-2"
    assert account.token(DPAT, APP, refused="somebody else's") == "token-2"
    assert len(issuer.asked) == 2


@pytest.mark.parametrize(
    "error", [DpatRefused("The password is wrong."), NotFound("No such app."), Malformed("HTML.")]
)
def test_a_refused_account_is_logged_once_and_not_tried_for_a_while(
    issuer: TokenIssuer, account: ServiceAccount, clock: Clock, error: Exception
) -> None:
    issuer.errors = [error]
    with capture_logs() as logged:
        assert [account.token(DPAT, APP) for _ in range(3)] == [None] * 3
        clock.now += REFUSAL_S - 1
        assert account.token(DPAT, APP) is None
    assert len(issuer.asked) == 1
    assert [(each["log_level"], each["reason"]) for each in logged] == [("error", str(error))]
    clock.now += 1
    assert account.token(DPAT, APP) == "token-2"


def test_an_unavailable_dpat_is_asked_again_for_a_token(issuer: TokenIssuer, account: ServiceAccount) -> None:
    issuer.errors = [DpatUnavailable("DPAT can't be reached.")]
    with pytest.raises(DpatUnavailable):
        account.token(DPAT, APP)
    assert account.token(DPAT, APP) == "token-2"


def test_the_repr_of_an_account_hides_secrets(account: ServiceAccount) -> None:
    token = account.token(DPAT, APP)

    def texts(thing: Any) -> str:
        return repr(thing) + "".join(repr(each) for each in vars(thing).values())

    assert token is not None
    assert token not in texts(account)


def test_a_token_is_fetched_as_the_user(dpat: LittleDpat, server: DpatServer) -> None:
    dpat.answer("POST", "/token", Reply(body={"accessToken": "T", "tokenType": "Bearer", "expiresIn": 60}))
    token = server.fetch_token("slidehook", "pässword", APP)
    (call,) = dpat.calls
    assert (token.access_token, token.expires_in) == ("T", 60)
    assert call.query == {"applicationId": [APP]}
    assert call.body == b"grant_type=client_credentials"
    assert call.headers["Authorization"].startswith("Basic ")
