from __future__ import annotations

import subprocess
import sys
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import FrozenInstanceError, asdict
from pathlib import Path
from typing import Any

import pytest

from engine.errors import SettingsError
from engine.settings import Settings, load_settings

SAMPLE = Path(__file__).parents[1] / "config" / "xinshi.toml"
SECRET = "kei-ner_darf+es sehen"

Load = Callable[..., Settings]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Load a text as the settings file, in an environment that holds nothing else."""

    def load(text: str | bytes = "", *, overrides: Mapping[str, object] | None = None, **environ: str) -> Settings:
        path = tmp_path / "xinshi.toml"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return load_settings(path, overrides=overrides or {}, environ={"HOME": str(tmp_path / "home"), **environ})

    return load


def problems(load: Load, *args: Any, **kwargs: Any) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(*args, **kwargs)
    return str(caught.value).splitlines()


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    leaves: dict[str, Any] = {}
    for name, value in values.items():
        leaves |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return leaves


# ── defaults and the sample ──────────────────────────────────────────────────────────────────────────────────────────


def in_effect(settings: Settings) -> dict[str, Any]:
    """The settings under the names of the file."""
    account = asdict(settings.for_account())
    for name in ("name", "password", "proxy_password", "pace"):
        del account[name]
    sections = ("pace", "batch", "timeouts", "settlement", "tracking", "retry", "breaker", "results", "consume")
    sections += ("wait", "log", "message", "radar", "money", "canary")
    notify = settings.notify.model_dump(exclude={"dingtalk_secret"})
    notify |= {name: notify[name].get_secret_value() for name in ("webhook", "wecom", "dingtalk")}
    notify |= {name: list(notify[name]) for name in ("on", "command")}
    values = flat({"account": account} | {name: getattr(settings, name).model_dump() for name in sections})
    values["tracking.opt_out_words"] = list(values["tracking.opt_out_words"])
    files = {"account.password_file": "", "account.proxy_password_file": "", "journal.url": ""}
    hours = {"hours": {"window": list(settings.hours.window), "timezone": settings.hours.timezone}}
    return values | flat({"notify": notify}) | flat(hours) | files


def test_the_sample_holds_every_key_with_its_default_and_no_other(load: Load) -> None:
    assert flat(tomllib.loads(SAMPLE.read_text())) == in_effect(load())


def test_the_sample_is_valid_and_changes_nothing(load: Load) -> None:
    assert in_effect(load(SAMPLE.read_text())) == in_effect(load())


def test_the_sample_s_further_account_is_valid_once_uncommented(load: Load, tmp_path: Path) -> None:
    lines = SAMPLE.read_text().splitlines()
    begin = lines.index("# [accounts.north]")
    part = [line.removeprefix("# ") for line in lines[begin : lines.index("", begin)]]
    (tmp_path / "north.password").write_text(SECRET)
    (tmp_path / "north.password").chmod(0o600)
    north = load("\n".join(part)).for_account("north")
    assert north.pace.requests_per_second == 2.5
    assert north.reveal_password() == SECRET


def test_every_key_of_the_sample_is_explained(load: Load) -> None:
    lines = SAMPLE.read_text().splitlines()
    assignments = [index for index, line in enumerate(lines) if " = " in line and not line.startswith("#")]
    assert len(assignments) == len(in_effect(load()))
    # A key has a comment above it, or shares that of the key before it.
    for index in assignments:
        assert lines[index - 1].startswith("#") or index - 1 in assignments, lines[index]


def test_without_a_file_the_defaults_hold(tmp_path: Path) -> None:
    settings = load_settings(overrides={}, environ={"HOME": str(tmp_path)})
    assert settings.file is None
    assert settings.for_account().url == "http://127.0.0.1:8888"
    assert settings.warnings == ()


# ── which source wins ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_variable_goes_over_the_file_and_a_flag_over_both(load: Load) -> None:
    file = "[pace]\nin_flight = 2\nrequests_per_second = 3\nnumbers_per_second = 4000"
    settings = load(
        file, XINSHI_PACE__IN_FLIGHT="20", XINSHI_PACE__REQUESTS_PER_SECOND="0.5", overrides={"pace.in_flight": 200}
    )
    assert settings.pace.in_flight == 200
    assert settings.pace.requests_per_second == 0.5
    assert settings.pace.numbers_per_second == 4000


def test_a_flag_that_was_not_given_changes_nothing(load: Load) -> None:
    assert load("[batch]\nmax_recipients = 7", overrides={"batch.max_recipients": None}).batch.max_recipients == 7


def test_the_variable_names_the_file_and_the_argument_goes_first(load: Load, tmp_path: Path) -> None:
    named = tmp_path / "named.toml"
    named.write_text("[pace]\nin_flight = 5")
    environ = {"HOME": str(tmp_path), "XINSHI_CONFIG": str(named)}
    assert load_settings(overrides={}, environ=environ).pace.in_flight == 5
    assert load(XINSHI_CONFIG=str(named)).pace.in_flight == 16


def test_the_user_s_configuration_folder_is_the_last_resort(tmp_path: Path) -> None:
    for environ, folder in (
        ({"HOME": str(tmp_path)}, tmp_path / ".config"),
        ({"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "xdg")}, tmp_path / "xdg"),
    ):
        path = folder / "xinshi" / "xinshi.toml"
        path.parent.mkdir(parents=True)
        path.write_text("[pace]\nin_flight = 6")
        settings = load_settings(overrides={}, environ=environ)
        assert (settings.file, settings.pace.in_flight) == (path, 6)


def test_the_same_number_is_the_same_however_it_was_written(load: Load) -> None:
    written = load("[pace]\nrequests_per_second = 10")
    assert repr(written.pace) == repr(load().pace) == repr(load(XINSHI_PACE__REQUESTS_PER_SECOND="10").pace)


@pytest.mark.parametrize(
    ("text", "value"), [('"auto"', "auto"), ("true", True), ("false", False), ('"true"', True), ('"false"', False)]
)
def test_distinct_sizes_is_auto_or_a_decision(load: Load, text: str, value: object) -> None:
    assert load(f"[batch]\ndistinct_sizes = {text}").batch.distinct_sizes is value
    assert load(XINSHI_BATCH__DISTINCT_SIZES=text.strip('"')).batch.distinct_sizes is value


# ── queues ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_queue_has_its_password_from_a_variable_or_a_file(load: Load, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(SECRET)
    (tmp_path / "secret").chmod(0o600)
    text = "[queues.a]\nurl = 'redis://me@h:1/s'\npassword_file = 'secret'\n[queues.b]\nurl = 'kafka://h/t'"
    settings = load(text + "\nwindow = ['08:30-20:00']", XINSHI_QUEUES__B__PASSWORD="other")
    assert (settings.for_queue("a").window, settings.for_queue("b").window) == ((), ("08:30-20:00",))
    assert settings.for_queue("a").url == "redis://me@h:1/s"
    assert settings.for_queue("a").reveal_password() == SECRET
    assert settings.for_queue("b").reveal_password() == "other"
    assert SECRET not in repr(settings)
    with pytest.raises(SettingsError, match=r"c: neither an address .* nor a \[queues.c\]"):
        settings.for_queue("c")


# ── accounts ─────────────────────────────────────────────────────────────────────────────────────────────────────────

NORTH = '[accounts.north]\nurl = "https://sms.example.com/"\nuserid = ""\naccount = "n"\n'


def test_a_named_account_has_its_own_pace_over_the_common_one(load: Load) -> None:
    settings = load(NORTH + "pace.in_flight = 3\n[pace]\nrequests_per_second = 7")
    assert settings.for_account("north").pace.in_flight == 3
    assert settings.for_account("north").pace.requests_per_second == 7
    assert settings.for_account().pace.in_flight == 16


def test_a_named_account_s_pace_may_be_what_the_default_is(load: Load) -> None:
    assert load(NORTH + "pace.in_flight = 16\n[pace]\nin_flight = 1").for_account("north").pace.in_flight == 16


def test_variables_and_flags_reach_named_accounts(load: Load) -> None:
    settings = load(
        NORTH,
        XINSHI_ACCOUNTS__NORTH__PASSWORD=SECRET,
        XINSHI_ACCOUNTS__NORTH__PACE__IN_FLIGHT="4",
        overrides={"accounts.north.signature": "信使"},
    )
    north = settings.for_account("north")
    assert (north.reveal_password(), north.pace.in_flight, north.signature) == (SECRET, 4, "信使")


def test_an_account_can_come_from_variables_alone(load: Load) -> None:
    names = {"URL": "https://sms.example.com", "USERID": "1", "ACCOUNT": "a"}
    settings = load(**{f"XINSHI_ACCOUNTS__NORTH__{name}": value for name, value in names.items()})
    assert settings.for_account("north").url == "https://sms.example.com"


def test_an_unknown_account_is_refused_with_the_nearest_name(load: Load) -> None:
    with pytest.raises(SettingsError, match=r"--account nroth: no such account in .*xinshi.toml; did you mean north\?"):
        load(NORTH).for_account("nroth")


def test_a_named_account_must_say_who_it_is(load: Load) -> None:
    found = problems(load, "[accounts.north]\nexclusive = false", XINSHI_ACCOUNTS__SOUTH__PASSWORD="x")
    assert len(found) == 6
    assert any("xinshi.toml: accounts.north: url is missing" in line for line in found)
    assert any(line.startswith("XINSHI_ACCOUNTS__SOUTH: account is missing") for line in found)


def test_a_named_account_cannot_take_the_default_s_name(load: Load) -> None:
    assert "accounts.default: this name is taken" in problems(load, NORTH.replace("north", "default"))[0]


def test_an_account_s_name_must_fit_into_a_variable(load: Load) -> None:
    assert "accounts.No-th: must be a name of a-z" in problems(load, NORTH.replace("north", "No-th"))[0]


def test_one_login_has_one_key_however_it_is_named_or_spelled(load: Load) -> None:
    text = '[account]\nurl = "HTTPS://SMS.example.com"\nuserid = ""\naccount = "n"\n' + NORTH
    settings = load(text)
    key = settings.for_account().account_key
    assert settings.for_account("north").account_key == key
    assert len(key) == 16
    assert load(text.replace('"n"', '"m"', 1)).for_account().account_key != key


@pytest.mark.parametrize(
    "url",
    [
        "sms.example.com",
        "ftp://sms.example.com",
        "http://",
        "http://sms.example.com:99999",
        "http://sms.example.com/sms.aspx",
        "http://sms.example.com/?a=1",
        "",
    ],
)
def test_an_address_that_is_none_is_refused(load: Load, url: str) -> None:
    (found,) = problems(load, f'[account]\nurl = "{url}"')
    assert f'account.url = "{url}": must be an address like http://host:port' in found


# ── passwords ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.write_text(SECRET + "\n")
    path.chmod(0o600)
    return path


BY_FILE = '[account]\npassword_file = "password"'


def test_a_password_comes_from_a_file_without_its_line_end(load: Load, secret_file: Path) -> None:
    assert load(BY_FILE).for_account().reveal_password() == SECRET


def test_a_password_in_a_variable_goes_first(load: Load, secret_file: Path) -> None:
    secret_file.unlink()
    assert load(BY_FILE, XINSHI_ACCOUNT__PASSWORD="other").for_account().reveal_password() == "other"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o610])
def test_a_password_file_that_others_may_read_is_refused_with_the_cure(
    load: Load, secret_file: Path, mode: int
) -> None:
    secret_file.chmod(mode)
    (found,) = problems(load, BY_FILE)
    assert found.endswith(
        f"xinshi.toml: account.password_file: {secret_file}: others may read it; run: chmod 600 '{secret_file}'"
    )


@pytest.mark.parametrize(
    ("content", "problem"),
    [(b"", "is empty"), (b"\n", "is empty"), (b"a\nb\n", "more than one line"), (b"\xff\xfe", "is not UTF-8")],
)
def test_a_password_file_that_holds_no_password_is_refused(
    load: Load, secret_file: Path, content: bytes, problem: str
) -> None:
    secret_file.write_bytes(content)
    (found,) = problems(load, BY_FILE)
    assert problem in found


def test_a_password_file_that_is_missing_is_refused(load: Load) -> None:
    (found,) = problems(load, BY_FILE)
    assert "password: cannot be read: No such file or directory" in found


@pytest.mark.parametrize("table", ["[account]\n", NORTH])
def test_a_password_in_the_settings_file_is_refused_with_the_reason(load: Load, table: str) -> None:
    (found,) = problems(load, f'{table}password = "{SECRET}"')
    assert "does not belong in this file" in found
    assert "__PASSWORD, or password_file" in found
    assert SECRET not in found


def test_a_missing_password_is_a_problem_only_when_it_is_needed(load: Load) -> None:
    settings = load(NORTH)
    with pytest.raises(SettingsError, match="account: no password; set XINSHI_ACCOUNT__PASSWORD, or password_file"):
        settings.for_account().reveal_password()
    with pytest.raises(SettingsError, match="XINSHI_ACCOUNTS__NORTH__PASSWORD"):
        settings.for_account("north").reveal_password()


def test_an_empty_password_is_refused(load: Load) -> None:
    assert problems(load, XINSHI_ACCOUNT__PASSWORD="") == ["XINSHI_ACCOUNT__PASSWORD: must be not empty"]


def test_no_secret_shows_in_a_repr_or_an_error(load: Load, secret_file: Path) -> None:
    settings = load(BY_FILE, XINSHI_ACCOUNTS__NORTH__PASSWORD=SECRET, overrides=dict(north_overrides()))
    assert SECRET not in repr(settings) + str(settings) + repr(settings.for_account("north"))
    wrong = f'[account]\npasword = "{SECRET}"\nurl = "http://u:{SECRET}@sms.example.com"\n[pace]\nin_flight = 0'
    found = problems(load, wrong, XINSHI_ACCOUNT__PASSWORD=SECRET, XINSHI_ACCOUNT__PASWORD=SECRET)
    assert len(found) == 4
    assert SECRET not in "\n".join(found)


def north_overrides() -> Mapping[str, str]:
    return {
        "accounts.north.url": "https://sms.example.com",
        "accounts.north.userid": "1",
        "accounts.north.account": "n",
    }


def test_a_problem_carries_no_secret_in_its_causes(load: Load) -> None:
    with pytest.raises(SettingsError) as caught:
        load("[pace]\nin_flight = 0", XINSHI_ACCOUNT__PASSWORD=SECRET)
    error: BaseException | None = caught.value
    while error is not None:
        assert SECRET not in repr(error) + str(error)
        error = error.__cause__ or error.__context__


# ── what is wrong, and where it was written ──────────────────────────────────────────────────────────────────────────


def test_all_problems_come_at_once_each_with_its_source(load: Load, tmp_path: Path) -> None:
    found = problems(
        load,
        "[pace]\nin_flite = 3\n[timeouts]\nconnect_s = 0\n[batch]\nmax_recipients = 5",
        XINSHI_TIMEOUTS__ANSWER_S="soon",
        XINSHI_PACE_IN_FLIGHT="3",
        overrides={"batch.max_recipients": 0},
    )
    file = tmp_path / "xinshi.toml"
    assert sorted(found) == sorted(
        [
            f"{file}: pace.in_flite: unknown key; did you mean in_flight?",
            f"{file}: timeouts.connect_s = 0: must be seconds above 0, at most 300",
            'XINSHI_TIMEOUTS__ANSWER_S = "soon": must be seconds above 0, at most 600',
            "XINSHI_PACE_IN_FLIGHT: unknown variable; did you mean XINSHI_PACE__IN_FLIGHT?",
            "--batch-size = 0: must be a whole number from 1 to 1000",
        ]
    )


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("[acount]\nurl = 'x'", "acount: unknown key; did you mean account?"),
        ("[pace]\nanswer_s = 3", "pace.answer_s: unknown key; did you mean timeouts.answer_s?"),
        ("answer_s = 3", "answer_s: unknown key; did you mean timeouts.answer_s?"),
        ("[breaker]\nxyz = 3", "breaker.xyz: unknown key; known are doubts, refusals"),
        (NORTH + "pace.in_flite = 3", "accounts.north.pace.in_flite: unknown key; did you mean in_flight?"),
        (NORTH + "passwort_file = 'x'", "accounts.north.passwort_file: unknown key; did you mean password_file?"),
        ("_env_file = 'x'", "_env_file: unknown key"),
    ],
)
def test_an_unknown_key_comes_with_the_nearest_name(load: Load, text: str, hint: str) -> None:
    (found,) = problems(load, text)
    assert found.endswith(hint)


@pytest.mark.parametrize(
    ("variable", "nearest"),
    [
        ("XINSHI_ACCOUNT__PASSWROD", "XINSHI_ACCOUNT__PASSWORD"),
        ("XINSHI_ACCOUNTS__NORTH__URI", "XINSHI_ACCOUNTS__NORTH__URL"),
        ("XINSHI_PACE", "XINSHI_PACE__IN_FLIGHT"),
        ("XINSHI_JOURNAL", "XINSHI_JOURNAL__URL"),
    ],
)
def test_an_unknown_variable_comes_with_the_nearest_name(load: Load, variable: str, nearest: str) -> None:
    assert problems(load, NORTH, **{variable: "{}"}) == [f"{variable}: unknown variable; did you mean {nearest}?"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[account]\nuserid = 12", "account.userid = 12: must be text in quotes"),
        ("[pace]\nin_flight = true", "pace.in_flight = true: must be a whole number"),
        ("[pace]\nin_flight = 1.5", "pace.in_flight = 1.5: must be a whole number"),
        ("[pace]\nrequests_per_second = -1", "pace.requests_per_second = -1: must be a number from 0"),
        ("[pace]\nrequests_per_second = inf", "must be a number from 0"),
        ("[pace]\nrequests_per_second = nan", "must be a number from 0"),
        ("[timeouts]\ngrace_s = -0.1", "timeouts.grace_s = -0.1: must be seconds from 0"),
        ("[settlement]\nmin_age_s = -1", "settlement.min_age_s = -1: must be seconds from 0"),
        ("[batch]\nmax_recipients = 1001", "batch.max_recipients = 1001: must be a whole number from 1 to 1000"),
        ('[batch]\ndistinct_sizes = "maybe"', 'batch.distinct_sizes = "maybe": must be "auto", true or false'),
        ('[tracking]\nenabled = "perhaps"', 'tracking.enabled = "perhaps": must be true or false'),
        ("pace = 3", "pace: must be a table, [pace]"),
        ("accounts = 3", "accounts: must be a table, [accounts]"),
        ("[accounts]\nnorth = 3", "accounts.north: must be a table, [accounts.north]"),
        ("[retry]\nwait_s = 11", "retry.wait_max_s = 10: must be at least retry.wait_s = 11"),
        ("[pace]\nnumbers_per_second = 99", "pace.numbers_per_second = 99: a batch of batch.max_recipients = 100"),
        (
            "[consume]\nlinger_ms = 600\nidle_s = 1",
            "consume.linger_ms = 600: must be at most half of consume.idle_s, 500",
        ),
        ("[queues.a]\nurl = 'redis://u:p@h/s'", "queues.a.url: must be an address like redis://host:port/stream"),
        ("[queues.a]\nurl = 'notices'", "queues.a.url"),
        ("[queues.a]", "queues.a: url is missing"),
        ("[queues.a]\nurl = 'redis://h/s'\nwindow = ['night']", "queues.a.window"),
        (
            "[queues.a]\nurl = 'redis://h/s'\npassword = 'x'",
            "queues.a.password: a password does not belong in this file",
        ),
        ("[queues.a]\nurl = 'redis://h/s'\ngroup = 'x'", "queues.a.group: unknown key; known are url, password_file"),
        (NORTH + "pace.numbers_per_second = 99", "accounts.north.pace.numbers_per_second = 99: a batch of"),
        ('[journal]\nurl = "postgresql://x/y"', 'journal.url = "postgresql://x/y": must be a path or sqlite:///'),
    ],
)
def test_an_impossible_value_is_refused_with_what_is_allowed(load: Load, text: str, problem: str) -> None:
    (found,) = problems(load, text)
    assert problem in found
    assert "xinshi.toml: " in found or found.startswith("retry.wait_max_s")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"[pace]\nin_flight = \n", "xinshi.toml: is not valid TOML: Invalid value (at line 2"),
        (b"[pace]\nin_flight = 1\nin_flight = 2\n", "at line 3"),
        (b"[account]\nsignature = '\xb3\xc7'", "xinshi.toml: is not UTF-8 (byte 24)"),
    ],
)
def test_a_file_that_is_no_toml_is_refused_with_its_line(load: Load, content: bytes, problem: str) -> None:
    (found,) = problems(load, content)
    assert problem in found


def test_a_file_from_windows_is_read(load: Load) -> None:
    assert load("\ufeff[pace]\r\nin_flight = 3\r\n").pace.in_flight == 3


def test_a_file_that_was_asked_for_must_exist(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"nowhere.toml: cannot be read: No such file"):
        load_settings(tmp_path / "nowhere.toml", overrides={}, environ={})


def test_a_relative_state_folder_is_ignored_as_the_xdg_rules_say(tmp_path: Path) -> None:
    settings = load_settings(overrides={}, environ={"HOME": str(tmp_path), "XDG_STATE_HOME": "relative"})
    assert settings.state_dir == tmp_path / ".local/state/xinshi"


# ── paths ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_paths_in_the_file_are_relative_to_it(load: Load, tmp_path: Path) -> None:
    settings = load('[account]\nprofile = "mine/own.toml"\n[journal]\nurl = "../x.db"')
    assert settings.for_account().profile == str(tmp_path / "mine/own.toml")
    assert settings.journal_path == tmp_path.parent / "x.db"


def test_paths_in_flags_and_variables_are_relative_to_the_working_directory(load: Load) -> None:
    settings = load(XINSHI_ACCOUNT__PROFILE="own.toml", overrides={"journal.url": Path("x.db")})
    assert settings.for_account().profile == str(Path.cwd() / "own.toml")
    assert settings.journal_path == Path.cwd() / "x.db"


def test_a_profile_s_name_is_no_path(load: Load) -> None:
    assert load('[account]\nprofile = "gbk"').for_account().profile == "gbk"


def test_the_tilde_is_the_home(load: Load) -> None:
    assert load('[journal]\nurl = "~/x.db"').journal_path == Path.home() / "x.db"


def test_the_journal_lies_in_the_user_s_state_folder(load: Load, tmp_path: Path) -> None:
    settings = load()
    assert settings.state_dir == tmp_path / "home/.local/state/xinshi"
    assert settings.journal_path == settings.state_dir / "xinshi.db"
    assert load(XDG_STATE_HOME="/var/x").journal_path == Path("/var/x/xinshi/xinshi.db")


@pytest.mark.parametrize("url", ["sqlite:///srv/x.db", "sqlite:////srv/x.db", "/srv/x.db"])
def test_the_journal_s_address_is_a_path_or_a_url(load: Load, url: str) -> None:
    assert load(f'[journal]\nurl = "{url}"').journal_path == Path("/srv/x.db")


# ── warnings, and what it costs ──────────────────────────────────────────────────────────────────────────────────────


def test_a_settlement_younger_than_a_slow_gateway_is_warned_of(load: Load) -> None:
    (warning,) = load("[timeouts]\nanswer_s = 70.5").warnings
    assert "settlement.min_age_s = 180 is below timeouts.answer_s + 110 = 180.5" in warning
    assert load("[timeouts]\nanswer_s = 70").warnings == ()


@pytest.mark.parametrize(
    ("url", "warned"),
    [
        ("http://sms.example.com", True),
        ("https://sms.example.com", False),
        ("http://127.0.0.1:8888", False),
        ("http://127.1.2.3", False),
        ("http://[::1]:80", False),
        ("http://localhost:1", False),
    ],
)
def test_a_password_in_clear_is_warned_of_outside_this_machine(load: Load, url: str, warned: bool) -> None:
    warnings = load(f'[account]\nurl = "{url}"').warnings
    assert [('Account "default" speaks http' in warning) for warning in warnings] == [True] * warned


def test_settings_do_not_change(load: Load) -> None:
    settings = load()
    with pytest.raises(FrozenInstanceError):
        settings.warnings = ()  # type: ignore[misc]
    with pytest.raises(ValueError, match="frozen"):
        settings.pace.in_flight = 3


def test_reading_the_settings_imports_no_other_large_library() -> None:
    heavy = (
        "import engine.settings, sys; print([m for m in ('aiohttp', 'sqlalchemy', 'lxml', 'rich') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
