from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from slidehook.settings import Settings, SettingsInvalid, read_settings


@pytest.fixture(autouse=True)
def _nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No settings but the test's own: neither a `.env` here nor the caller's environment."""
    monkeypatch.chdir(tmp_path)
    with monkeypatch.context() as patch:
        for name in Settings.model_fields:
            patch.delenv(f"SLIDEHOOK_{name.upper()}", raising=False)
        yield


def given(monkeypatch: pytest.MonkeyPatch, **values: str) -> Settings:
    for name, value in values.items():
        monkeypatch.setenv(f"SLIDEHOOK_{name.upper()}", value)
    return read_settings()


def test_without_any_setting_the_defaults_are_those_of_the_manual(tmp_path: Path) -> None:
    settings = read_settings()
    assert (settings.host, settings.port) == ("0.0.0.0", 5006)  # noqa: S104
    assert settings.queue_dir == tmp_path / "queue_dir"
    assert settings.data_dir == tmp_path / "data"
    assert settings.dpat_urls == ()
    assert settings.dpat_ca_bundle is None
    assert settings.store_phi is False
    assert settings.max_attempts == 3
    assert settings.job_timeout == timedelta(hours=1)
    assert settings.admin_token is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("0.5", 0.5),
        ("90s", 90),
        ("15min", 900),
        ("15 m", 900),
        (" 1h ", 3600),
        ("1.5h", 5400),
        ("2d", 172800),
        ("PT1H", 3600),
    ],
)
def test_a_duration_is_seconds_or_bears_a_unit(monkeypatch: pytest.MonkeyPatch, text: str, seconds: float) -> None:
    assert given(monkeypatch, job_timeout=text).job_timeout.total_seconds() == seconds


@pytest.mark.parametrize("text", ["0", "-5", "soon", "1 week", "1h30", "99999999999d", "inf", "nan"])
def test_a_duration_that_is_none_is_refused_in_one_sentence(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    with pytest.raises(SettingsInvalid, match=r"^SLIDEHOOK_JOB_TIMEOUT: .+[^.]\.$"):
        given(monkeypatch, job_timeout=text)


def test_an_empty_value_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = given(monkeypatch, job_timeout="", dpat_urls="", admin_token="", port="")
    assert settings == Settings(_env_file=None)


def test_callback_prefixes_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = given(monkeypatch, dpat_urls=" https://a/v1, http://b:8080 ,,")
    assert settings.dpat_urls == ("https://a/v1", "http://b:8080")


@pytest.mark.parametrize("text", ["dpat.example", "https://a,b", "ftp://a", "https://u:p@a", "https://a/../b", "*"])
def test_a_callback_prefix_that_is_no_url_is_refused_at_the_start(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    with pytest.raises(SettingsInvalid, match=r"^SLIDEHOOK_DPAT_URLS: .*http or https URL"):
        given(monkeypatch, dpat_urls=text)


def test_certificates_that_are_not_there_are_refused_at_the_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(SettingsInvalid, match=r"^SLIDEHOOK_DPAT_CA_BUNDLE: .*no file"):
        given(monkeypatch, dpat_ca_bundle=str(tmp_path / "ca.pem"))
    (tmp_path / "ca.pem").touch()
    assert given(monkeypatch, dpat_ca_bundle=str(tmp_path / "ca.pem")).dpat_ca_bundle == tmp_path / "ca.pem"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", "http"),
        ("port", "70000"),
        ("max_attempts", "0"),
        ("web_threads", "0"),
        ("cache_gb", "-1"),
        ("keep_days", "nan"),
        ("store_phi", "perhaps"),
    ],
)
def test_a_wrong_value_is_one_sentence_that_names_the_setting(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    with pytest.raises(SettingsInvalid) as caught:
        given(monkeypatch, **{name: value})
    text = str(caught.value)
    assert text.startswith(f"SLIDEHOOK_{name.upper()}: ")
    assert text.endswith(".")
    assert "\n" not in text


def test_secrets_do_not_show_when_the_settings_are_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = given(monkeypatch, dpat_user="us", dpat_password="s3cret-1", admin_token="s3cret-2")
    assert "s3cret" not in repr(settings)
    assert "s3cret" not in str(settings)
    assert settings.admin_token is not None
    assert settings.admin_token.get_secret_value() == "s3cret-2"


@pytest.mark.parametrize("one", ["dpat_user", "dpat_password"])
def test_a_service_account_is_a_user_and_a_password(monkeypatch: pytest.MonkeyPatch, one: str) -> None:
    with pytest.raises(SettingsInvalid, match="both must be set") as caught:
        given(monkeypatch, **{one: "s3cret"})
    assert "s3cret" not in str(caught.value)


def test_settings_do_not_change(settings: Settings) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        settings.port = 1  # type: ignore[misc]


def test_a_dotenv_file_is_read_and_the_environment_goes_before_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("SLIDEHOOK_PORT=6001\nSLIDEHOOK_HOST=127.0.0.1\nOTHER=1\n")
    settings = given(monkeypatch, port="6002")
    assert (settings.port, settings.host) == (6002, "127.0.0.1")


def test_folders_are_absolute_and_a_tilde_is_the_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    settings = given(monkeypatch, queue_dir="~/queue", data_dir="some/where")
    assert settings.queue_dir == Path("/home/someone/queue")
    assert settings.data_dir == tmp_path / "some/where"
