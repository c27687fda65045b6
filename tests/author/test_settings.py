from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from slidehook.errors import SettingsInvalid
from slidehook.settings import EXAMPLES, Settings, read_settings


@pytest.fixture(autouse=True)
def _nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No settings but the test's own: neither a `.env` here nor the caller's environment."""
    monkeypatch.chdir(tmp_path)
    with monkeypatch.context() as patch:
        for name in [each for each in os.environ if each.upper().startswith("SLIDEHOOK_")]:
            patch.delenv(name)
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
    assert settings.dpat_password is None


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
    settings = given(monkeypatch, job_timeout="", dpat_urls="", dpat_proxy="", port="")
    assert settings == Settings(_env_file=None)


def test_callback_prefixes_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = given(monkeypatch, dpat_urls=" https://a/v1, http://b:8080 ,,")
    assert settings.dpat_urls == ("https://a/v1", "http://b:8080")


@pytest.mark.parametrize("text", ["dpat.example", "https://a,b", "ftp://a", "https://u:p@a", "https://a/../b", "*"])
def test_a_callback_prefix_that_is_no_url_is_refused_at_the_start(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    with pytest.raises(SettingsInvalid, match=r"^SLIDEHOOK_DPAT_URLS: .*http or https URL") as caught:
        given(monkeypatch, dpat_urls=text)
    assert "u:p@" not in str(caught.value)


def test_certificates_that_are_not_there_are_refused_at_the_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(SettingsInvalid, match=r"^SLIDEHOOK_DPAT_CA_BUNDLE: .*names no file"):
        given(monkeypatch, dpat_ca_bundle=str(tmp_path / "ca.pem"))
    (tmp_path / "ca.pem").touch()
    assert given(monkeypatch, dpat_ca_bundle=str(tmp_path / "ca.pem")).dpat_ca_bundle == tmp_path / "ca.pem"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", "http"),
        ("port", "70000"),
        ("host", "::"),
        ("host", "0.0.0.0:5006"),
        ("max_attempts", "0"),
        ("web_threads", "0"),
        ("trusted_proxies", "1.5"),
        ("min_free_gb", "-1"),
        ("keep_days", "nan"),
        ("keep_days", "inf"),
        ("store_phi", "perhaps"),
        ("job_timeout", "-5"),
        ("dpat_user", "a:b"),
        ("dpat_ca_bundle", "/nowhere.pem"),
    ],
)
def test_a_wrong_value_is_one_sentence_with_the_setting_its_value_and_an_example(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    with pytest.raises(SettingsInvalid) as caught:
        given(monkeypatch, **{name: value})
    (text,) = str(caught.value).splitlines()
    assert text.startswith(f"SLIDEHOOK_{name.upper()}: {value!r} ")
    assert f", for example SLIDEHOOK_{name.upper()}=" in text
    assert text.endswith(".")


def test_every_wrong_setting_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsInvalid) as caught:
        given(monkeypatch, port="x", host="::", prot="5006")
    assert [line.split(":")[0].split()[0] for line in str(caught.value).splitlines()] == [
        "SLIDEHOOK_PROT",
        "SLIDEHOOK_HOST",
        "SLIDEHOOK_PORT",
    ]


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_example_is_a_value_that_the_setting_takes(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    field = Settings.model_fields[name]
    if name in EXAMPLES and name not in {"dpat_user", "dpat_ca_bundle"}:
        assert getattr(given(monkeypatch, **{name: EXAMPLES[name]}), name) not in (None, ())
    elif name not in EXAMPLES:
        assert field.default is not None or "Secret" in str(field.annotation), "it needs an example"


@pytest.mark.parametrize("name", ["dpat_password", "dpat_proxy"])
@pytest.mark.parametrize("value", ["s3cret\nline", "s3cret\x1b[31m", "s3cret-\udcff"])
def test_a_secret_that_is_refused_is_not_shown(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv("SLIDEHOOK_DPAT_USER", "us")
    with pytest.raises(SettingsInvalid, match=f"SLIDEHOOK_{name.upper()}: its value must ") as caught:
        given(monkeypatch, **{name: value})
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("prot", "port"), ("webprocesses", "web_processes"), ("timeout", "job_timeout"), ("queuedir", "queue_dir")],
)
@pytest.mark.parametrize("place", ["the environment", ".env"])
def test_an_unknown_name_stops_the_start_with_the_nearest_known_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, nearest: str, place: str
) -> None:
    name = f"SLIDEHOOK_{name.upper()}"
    if place == ".env":
        (tmp_path / ".env").write_text(f"# ours\n{name}=1\n")
        place = f"{tmp_path / '.env'}, line 2"
    else:
        monkeypatch.setenv(name, "1")
    with pytest.raises(SettingsInvalid) as caught:
        read_settings()
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"{name} in {place} is no setting; the nearest one is SLIDEHOOK_{nearest.upper()}")


def test_a_misspelt_prefix_in_a_dotenv_file_is_told_and_other_programs_names_are_not(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("SLIDES=1\nPOSTGRES_DB=x\nPATH_X=$HOME\nSLIDEHOK_PORT=1\nSLIDEHOOKPORT=1\n")
    with pytest.raises(SettingsInvalid) as caught:
        read_settings()
    assert [line.split()[0] for line in str(caught.value).splitlines()] == ["SLIDEHOK_PORT", "SLIDEHOOKPORT"]


def test_secrets_do_not_show_when_the_settings_are_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = "http://us:s3cret-2@127.0.0.1:3128"
    settings = given(monkeypatch, dpat_user="us", dpat_password="s3cret-1", dpat_proxy=proxy)
    assert "s3cret" not in repr(settings)
    assert "s3cret" not in str(settings)
    assert settings.dpat_proxy is not None
    assert settings.dpat_proxy.get_secret_value() == proxy


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


PASSWORDS = [
    "a$b",
    "${HOME}",
    "$HOME",
    "a{b}c{}",
    "#a",
    "a#b",
    "a\"b'c",
    "a b",
    "a\\b\\\\c",
    "pä§€",
    "a=b",
    "%s%%",
    "`ls`",
]


@pytest.mark.parametrize("password", PASSWORDS)
@pytest.mark.parametrize("quote", ["", "'", "the environment"])
def test_a_password_is_taken_as_it_stands_or_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, password: str, quote: str
) -> None:
    monkeypatch.setenv("SLIDEHOOK_DPAT_USER", "us")
    if quote == "the environment":
        monkeypatch.setenv("SLIDEHOOK_DPAT_PASSWORD", password)
    else:
        (tmp_path / ".env").write_text(f"SLIDEHOOK_DPAT_PASSWORD={quote}{password}{quote}\n")
    if quote == "'" and ("'" in password or "\\\\" in password):
        with pytest.raises(SettingsInvalid, match="SLIDEHOOK_DPAT_PASSWORD") as caught:
            read_settings()
        assert password not in str(caught.value)
        return
    settings = read_settings()
    assert settings.dpat_password is not None
    assert settings.dpat_password.get_secret_value() == password


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("geheim #1", "a # behind a space begins a comment"),
        (" #geheim", "a # behind a space begins a comment"),
        ('"geheim\\n"', "a backslash in quotes"),
        ("'geheim\\\\1'", "a backslash in quotes"),
        ("'geheim", "a quote is missing"),
        ("'geheim\nSLIDEHOOK_HOST=it's", "line break|quote is missing"),
        ("'geheim'1", "quote is missing"),
    ],
)
def test_a_password_that_would_be_changed_is_refused_and_not_shown(tmp_path: Path, written: str, why: str) -> None:
    (tmp_path / ".env").write_text(f"SLIDEHOOK_DPAT_USER=us\nSLIDEHOOK_DPAT_PASSWORD={written}\n")
    with pytest.raises(SettingsInvalid, match=why.replace("a quote is", "quote is")) as caught:
        read_settings()
    assert "SLIDEHOOK_DPAT_PASSWORD" in str(caught.value)
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("SLIDEHOOK_PORT=1\n".encode("utf-16"), "UTF-16"),
        ("SLIDEHOOK_PORT=1\n".encode("utf-16-le"), "UTF-16"),
        (
            "SLIDEHOOK_PORT=1\nSLIDEHOOK_DPAT_USER=Jörg\n".encode("latin-1"),
            "line 2: the value of SLIDEHOOK_DPAT_USER",
        ),
        ("# für uns\nSLIDEHOOK_PORT=1\n".encode("latin-1"), "line 1: it is not UTF-8"),
        (b"SLIDEHOOK_PORT\n", "line 1: SLIDEHOOK_PORT is not set as NAME=VALUE"),
        (b"\n\n  SLIDEHOOK_PORT: 5006\n", "line 3: SLIDEHOOK_PORT is not set as NAME=VALUE"),
    ],
)
def test_a_dotenv_file_that_can_not_be_read_is_one_sentence(tmp_path: Path, content: bytes, why: str) -> None:
    (tmp_path / ".env").write_bytes(content)
    with pytest.raises(SettingsInvalid) as caught:
        read_settings()
    (line,) = str(caught.value).splitlines()
    assert why in line
    assert str(tmp_path / ".env") in line


def test_a_dotenv_file_that_is_none_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / ".env").mkdir()
    with pytest.raises(SettingsInvalid, match=r"the settings file .* can't be read \(Is a directory"):
        read_settings()


def test_a_byte_order_mark_and_windows_line_ends_cost_no_setting(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(
        "\ufeffSLIDEHOOK_PORT=6001\r\nexport SLIDEHOOK_HOST=localhost # here\r\n".encode()
    )
    settings = read_settings()
    assert (settings.port, settings.host) == (6001, "localhost")
