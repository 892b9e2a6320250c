"""The checked settings: file < environment < flag.

Nobody else reads the settings file or the environment, and nobody else knows pydantic. What comes out is frozen.
"""

from __future__ import annotations

import copy
import hashlib
import ipaddress
import json
import os
import re
import shlex
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import SplitResult, urlsplit
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    ValidationError,
)
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, EnvSettingsSource, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from engine.errors import SettingsError
from engine.language import N_, VARIABLE, _
from engine.terms import system_words

PREFIX = "XINSHI_"
CONFIG_VARIABLE = "XINSHI_CONFIG"
DEFAULT_ACCOUNT = "default"

# gateway/protocol.md, Lost answers: the server's own limit for a request is often 110 s.
SERVER_LIMIT_S = 110

_HOURS = re.compile(
    r"(?:[^0-9]+ )?(?:[01]?[0-9]|2[0-4])[:：][0-5][0-9]\s*[-–~至]\s*(?:[01]?[0-9]|2[0-4])[:：][0-5][0-9](?:[,，].+)?"
)

# Where the flag is not the key's own name with dashes.
_FLAGS = {
    "pace.requests_per_second": "--requests-per-second",
    "pace.numbers_per_second": "--numbers-per-second",
    "pace.in_flight": "--in-flight",
    "journal.url": "--journal",
    "batch.max_recipients": "--batch-size",
    "account.signature": "--signature",
    "message.kind": "--kind",
    "message.checkcontent": "--checkcontent",
    "radar.max_per_number": "--max-per-number",
}

Key = tuple[str, ...]  # ("pace", "in_flight")


def _no_boolean(value: object) -> object:
    """Refuse true and false where a number is meant; pydantic would read them as 1 and 0."""
    if isinstance(value, bool):
        raise ValueError("a boolean")  # noqa: TRY004  pydantic turns only ValueError into a problem
    return value


def _base_url(text: str) -> str:
    """Check the gateway's address and bring it to one spelling, because the account's key is made from it."""
    parts = urlsplit(text.strip())
    port = parts.port  # raises ValueError above 65535
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("no http or https address")
    if "@" in parts.netloc or parts.query or parts.fragment or parts.path.lower().endswith(".aspx"):
        raise ValueError("more than an address")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return SplitResult(
        parts.scheme, host if port is None else f"{host}:{port}", parts.path.rstrip("/"), "", ""
    ).geturl()


def _queue_url(text: str) -> str:
    """Check that a queue's address is one and holds no password; what it means is the broker's business."""
    parts = urlsplit(text.strip())
    login = parts.netloc.rpartition("@")[0]
    if not parts.scheme or not parts.netloc or not parts.path.strip("/") or ":" in login:
        raise ValueError("no address, or one with a password")
    return text.strip()


def _proxy_url(text: str) -> str:
    """Check that a proxy's address is http://host:port and holds no password."""
    parts = urlsplit(text.strip())
    if text and (
        parts.scheme != "http" or not parts.port or "@" in parts.netloc or parts.path.strip("/") or parts.query
    ):
        raise ValueError("no proxy")
    return text.strip().rstrip("/")


def _web_url(secret: SecretStr) -> SecretStr:
    """Check that somebody can be told there."""
    parts = urlsplit(secret.get_secret_value())
    if secret.get_secret_value() and (parts.scheme not in ("http", "https") or not parts.hostname):
        raise ValueError("no http or https address")
    return secret


def _windows(value: object) -> object:
    """A variable holds several windows with semicolons between them, since a window may hold commas."""
    return [window.strip() for window in value.split(";") if window.strip()] if isinstance(value, str) else value


def _window(text: str) -> str:
    """Check that it looks like hours of the day; what it means is the business of hours."""
    if not _HOURS.fullmatch(text.strip()):
        raise ValueError("no hours")
    return text.strip()


def _timezone(name: str) -> str:
    """Check that there is such a zone."""
    if name != "Asia/Shanghai":
        try:
            ZoneInfo(name)
        except (KeyError, OSError) as exc:
            raise ValueError("no time zone") from exc
    return name


def _ip_address(text: str) -> str:
    return str(ipaddress.ip_address(text)) if text else ""


def _words(value: object) -> object:
    """A variable holds a command as a shell line."""
    return shlex.split(value) if isinstance(value, str) else value


def _listed(value: object) -> object:
    """A variable holds several words with commas between them."""
    return [word.strip() for word in value.split(",") if word.strip()] if isinstance(value, str) else value


Number = Annotated[float, BeforeValidator(_no_boolean), Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, BeforeValidator(_no_boolean)]
AccountName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]  # any of them fits in a variable's name


class _Section(BaseModel):
    """One table of the file. A field's description says what is allowed; it ends in the problem's text."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, hide_input_in_errors=True)


class _Account(_Section):
    url: Annotated[str, AfterValidator(_base_url)] = Field(
        default="http://127.0.0.1:8888",
        description=N_("an address like http://host:port, without user, password, /sms.aspx or parameters"),
    )
    userid: str = Field(default="12", description=N_("text in quotes, the enterprise id (may be empty)"))
    account: str = Field(default="demo", description=N_("text in quotes"))
    password: SecretStr | None = Field(default=None, min_length=1, repr=False, description=N_("not empty"))
    password_file: str = Field(default="", description=N_("the path of a file that only you may read"))
    profile: str = Field(
        default="standard", min_length=1, description=N_("standard, gbk, signed, json or the path of a .toml file")
    )
    exclusive: bool = Field(default=True, description=N_("true or false"))
    signature: str = Field(default="", description=N_("text in quotes"))
    opt_out: str = Field(default="", description=N_("text in quotes"))
    price_yuan_per_point: Annotated[Decimal, BeforeValidator(_no_boolean)] = Field(
        default=Decimal(0),
        ge=0,
        le=1000,
        allow_inf_nan=False,
        description=N_("yuan from 0 (not known) to 1000, such as 0.045"),
    )
    tls_ca: str = Field(default="", description=N_("the path of a file with certificates (PEM)"))
    tls_cert: str = Field(default="", description=N_("the path of a file with a certificate (PEM)"))
    tls_key: str = Field(default="", description=N_("the path of a file with the certificate's key (PEM)"))
    proxy: Annotated[str, AfterValidator(_proxy_url)] = Field(
        default="", description=N_("an address like http://host:port; user and password stand in keys of their own")
    )
    proxy_user: str = Field(default="", pattern="^[^:]*$", description=N_("text in quotes, without a colon"))
    proxy_password: SecretStr | None = Field(default=None, min_length=1, repr=False, description=N_("not empty"))
    proxy_password_file: str = Field(default="", description=N_("the path of a file that only you may read"))
    source_address: Annotated[str, AfterValidator(_ip_address)] = Field(
        default="", description=N_("one of this machine's IP addresses")
    )


class PaceSettings(_Section):
    """How fast one account may be used. 0 is no limit; `requests_per_second` may be below 1."""

    requests_per_second: Number = Field(
        default=10, le=10_000, description=N_("a number from 0 (no limit) to 10000, decimals allowed")
    )
    numbers_per_second: Number = Field(
        default=0, le=10_000_000, description=N_("a number from 0 (no limit) to 10000000")
    )
    in_flight: Count = Field(default=16, ge=1, le=1000, description=N_("a whole number from 1 to 1000"))


class BatchSettings(_Section):
    """How recipients are cut into requests."""

    max_recipients: Count = Field(default=100, ge=1, le=1000, description=N_("a whole number from 1 to 1000"))
    distinct_sizes: Literal["auto"] | bool = Field(default="auto", description=N_('"auto", true or false'))


class TimeoutSettings(_Section):
    """How long the engine waits for the gateway, in seconds."""

    connect_s: Number = Field(default=5, gt=0, le=300, description=N_("seconds above 0, at most 300"))
    answer_s: Number = Field(default=30, gt=0, le=600, description=N_("seconds above 0, at most 600"))
    grace_s: Number = Field(default=20, le=3600, description=N_("seconds from 0 to 3600"))
    keepalive_s: Number = Field(default=10, le=3600, description=N_("seconds from 0 to 3600"))


class SettlementSettings(_Section):
    """How patient the settlement of doubts is, in seconds."""

    min_age_s: Number = Field(default=180, le=604_800, description=N_("seconds from 0 to 604800 (a week)"))
    balance_settle_s: Number = Field(default=5, le=3600, description=N_("seconds from 0 to 3600"))


class TrackingSettings(_Section):
    """How often reports and replies are fetched."""

    enabled: bool = Field(default=True, description=N_("true or false"))
    report_interval_s: Number = Field(
        default=30, gt=0, le=86_400, description=N_("seconds above 0, at most 86400 (a day)")
    )
    reply_interval_s: Number = Field(
        default=60, gt=0, le=86_400, description=N_("seconds above 0, at most 86400 (a day)")
    )
    opt_out_words: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed)] = Field(
        default=("T", "TD", "R", "N", "退订", "退", "取消", "拒收"),
        description=N_('a list of words such as ["T", "退订"]'),
    )
    opt_out_scope: Literal["account", "all"] = Field(default="account", description=N_('"account" or "all"'))
    report_horizon_h: Number = Field(default=72, gt=0, le=8760, description=N_("hours above 0, at most 8760 (a year)"))


class RetrySettings(_Section):
    """How often and after which wait, in seconds, something is tried again that surely was not sent."""

    attempts: Count = Field(default=5, ge=1, le=100, description=N_("a whole number from 1 to 100"))
    wait_s: Number = Field(default=0.5, le=3600, description=N_("seconds from 0 to 3600"))
    wait_max_s: Number = Field(default=10, le=3600, description=N_("seconds from 0 to 3600"))


class BreakerSettings(_Section):
    """How many in a row pause the campaign."""

    doubts: Count = Field(default=3, ge=1, le=1000, description=N_("a whole number from 1 to 1000"))
    refusals: Count = Field(default=3, ge=1, le=1000, description=N_("a whole number from 1 to 1000"))


class ResultsSettings(_Section):
    """What is kept for exports."""

    keep_lists: Literal["all", "stdin", "none"] = Field(default="all", description=N_('"all", "stdin" or "none"'))


class MessageSettings(_Section):
    """What is looked at in a text before it is sent."""

    kind: Literal["", "marketing", "notice"] = Field(default="", description=N_('"marketing", "notice" or ""'))
    check_keywords: Literal["auto"] | bool = Field(default="auto", description=N_('"auto", true or false'))
    check_most: Count = Field(default=20, ge=1, le=1000, description=N_("a whole number from 1 to 1000"))
    checkcontent: bool = Field(default=False, description=N_("true or false"))


class RadarSettings(_Section):
    """How people are kept from getting the same again, or too much."""

    days: Number = Field(default=7, le=365, description=N_("days from 0 (off) to 365"))
    ask_above_percent: Number = Field(default=10, le=100, description=N_("a percentage from 0 to 100"))
    refuse: bool = Field(default=True, description=N_("true or false"))
    max_per_number: str = Field(
        default="",
        pattern=r"^([1-9][0-9]{0,3}/[1-9][0-9]{0,3}[dh])?$",
        description=N_('messages and a time such as "2/7d" or "1/24h", or "" for no limit'),
    )


class ConsumeSettings(_Section):
    """How queues are consumed."""

    linger_ms: Number = Field(default=200, le=60_000, description=N_("milliseconds from 0 to 60000"))
    backlog: Count = Field(default=10_000, ge=1, le=10_000_000, description=N_("a whole number from 1 to 10000000"))
    ahead: Count = Field(default=500, ge=1, le=65_535, description=N_("a whole number from 1 to 65535"))
    idle_s: Number = Field(default=60, ge=1, le=86_400, description=N_("seconds from 1 to 86400 (a day)"))


_Robot = Annotated[SecretStr, AfterValidator(_web_url)]  # whoever has such an address can write to the group


class NotifySettings(_Section):
    """Who is told of a pause, an end, a low balance, doubts; and how."""

    on: Annotated[tuple[Literal["pause", "end", "low_balance", "doubts"], ...], NoDecode, BeforeValidator(_listed)] = (
        Field(
            default=("pause", "end", "low_balance", "doubts"),
            description=N_('a list of "pause", "end", "low_balance" and "doubts"'),
        )
    )
    low_balance_points: Annotated[Decimal, BeforeValidator(_no_boolean)] = Field(
        default=Decimal(0), ge=0, allow_inf_nan=False, description=N_("points from 0 (never)")
    )
    command: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_words)] = Field(
        default=(), description=N_('a list of a program and its words, such as ["/usr/local/bin/tell", "ops"]')
    )
    webhook: _Robot = Field(default=SecretStr(""), repr=False, description=N_("an http or https address"))
    wecom: _Robot = Field(default=SecretStr(""), repr=False, description=N_("an http or https address"))
    dingtalk: _Robot = Field(default=SecretStr(""), repr=False, description=N_("an http or https address"))
    dingtalk_secret: SecretStr | None = Field(default=None, min_length=1, repr=False, description=N_("not empty"))
    dingtalk_secret_file: str = Field(default="", description=N_("the path of a file that only you may read"))
    timeout_s: Number = Field(default=10, gt=0, le=60, description=N_("seconds above 0, at most 60"))


class WaitSettings(_Section):
    """How often --wait looks whether a campaign can go on, in seconds."""

    poll_s: Number = Field(default=30, gt=0, le=3600, description=N_("seconds above 0, at most 3600"))
    poll_max_s: Number = Field(default=600, gt=0, le=86_400, description=N_("seconds above 0, at most 86400 (a day)"))


class HoursSettings(_Section):
    """When campaigns may send, as long as they say nothing of it themselves."""

    window: Annotated[tuple[Annotated[str, AfterValidator(_window)], ...], NoDecode, BeforeValidator(_windows)] = Field(
        default=(), description=N_('a list such as ["08:30-12:00", "Mon-Fri 13:30-20:00"]')
    )
    timezone: Annotated[str, AfterValidator(_timezone)] = Field(
        default="Asia/Shanghai", description=N_("a time zone such as Asia/Shanghai")
    )


class MoneySettings(_Section):
    """What of the points is not for campaigns."""

    keep_points: Annotated[Decimal, BeforeValidator(_no_boolean)] = Field(
        default=Decimal(0), ge=0, allow_inf_nan=False, description=N_("points from 0")
    )


class CanarySettings(_Section):
    """When delivery is too bad to go on."""

    undelivered_spike: Number = Field(default=30, le=100, description=N_("per cent from 0 (never) to 100"))


class LogSettings(_Section):
    """The log file. Its lines are JSON."""

    file: str = Field(default="", description=N_("a path; empty for no log file"))
    level: Literal["error", "warning", "info", "debug"] = Field(
        default="info", description=N_('"error", "warning", "info" or "debug"')
    )
    max_mb: Number = Field(default=10, gt=0, le=10_000, description=N_("megabytes above 0, at most 10000"))
    keep: Count = Field(default=5, ge=1, le=1000, description=N_("a whole number from 1 to 1000"))


class _Queue(_Section):
    """One queue under a name of its own, so that its address and password stay out of command lines."""

    url: Annotated[str, AfterValidator(_queue_url)] = Field(
        description=N_("an address like redis://host:port/stream?group=NAME, without a password")
    )
    password: SecretStr | None = Field(default=None, min_length=1, repr=False, description=N_("not empty"))
    password_file: str = Field(default="", description=N_("the path of a file that only you may read"))
    window: Annotated[tuple[Annotated[str, AfterValidator(_window)], ...], NoDecode, BeforeValidator(_windows)] = Field(
        default=(), description=N_('a list such as ["08:30-12:00", "Mon-Fri 13:30-20:00"]')
    )


class _Journal(_Section):
    url: str = Field(default="", description=N_("a path or sqlite:///absolute/path; empty for the user's state folder"))


class _NamedAccount(_Account):
    """A further account. Nothing that names it has a default: a forgotten line must not send through another one."""

    url: Annotated[str, AfterValidator(_base_url)] = Field(description=str(_Account.model_fields["url"].description))
    userid: str = Field(description=str(_Account.model_fields["userid"].description))
    account: str = Field(description=str(_Account.model_fields["account"].description))
    pace: PaceSettings = PaceSettings()


class _Document(BaseSettings):
    """The whole file, with the environment and the flags laid over it."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", frozen=True, extra="forbid", hide_input_in_errors=True
    )

    account: _Account = _Account()
    accounts: dict[AccountName, _NamedAccount] = Field(
        default={}, description=N_("a name of a-z, 0-9 and _, beginning with a letter")
    )
    pace: PaceSettings = PaceSettings()
    batch: BatchSettings = BatchSettings()
    timeouts: TimeoutSettings = TimeoutSettings()
    settlement: SettlementSettings = SettlementSettings()
    tracking: TrackingSettings = TrackingSettings()
    retry: RetrySettings = RetrySettings()
    breaker: BreakerSettings = BreakerSettings()
    results: ResultsSettings = ResultsSettings()
    message: MessageSettings = MessageSettings()
    radar: RadarSettings = RadarSettings()
    consume: ConsumeSettings = ConsumeSettings()
    notify: NotifySettings = NotifySettings()
    wait: WaitSettings = WaitSettings()
    hours: HoursSettings = HoursSettings()
    money: MoneySettings = MoneySettings()
    canary: CanarySettings = CanarySettings()
    log: LogSettings = LogSettings()
    queues: dict[AccountName, _Queue] = Field(
        default={}, description=N_("a name of a-z, 0-9 and _, beginning with a letter")
    )
    journal: _Journal = _Journal()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what it is given: `load_settings` lays the sources over each other, so that a problem can name its own."""
        return (init_settings,)


_NAMED: Mapping[str, type[BaseModel]] = {"accounts": _NamedAccount, "queues": _Queue}
"""Tables of tables under names that the operator chooses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountSettings:
    """One login with its pace. `url` has no slash at its end; `profile` is a built-in name or an absolute path."""

    name: str
    url: str
    userid: str
    account: str
    profile: str
    exclusive: bool
    signature: str
    opt_out: str
    price_yuan_per_point: Decimal  # 0: not known
    tls_ca: str
    tls_cert: str
    tls_key: str
    proxy: str
    proxy_user: str
    source_address: str
    pace: PaceSettings
    password: SecretStr | None = field(repr=False)
    proxy_password: SecretStr | None = field(repr=False)

    @property
    def account_key(self) -> str:
        """Sixteen hex digits that name the login at the gateway: for locks and the ledger, whatever the file calls it."""
        return hashlib.sha256("\n".join((self.url, self.userid, self.account)).encode()).hexdigest()[:16]

    def reveal_password(self) -> str:
        """Give the password in clear, for the wire alone. Raises SettingsError when none is set."""
        if self.password is None:
            table = "account" if self.name == DEFAULT_ACCOUNT else f"accounts.{self.name}"
            variable = _variable((*table.split("."), "password"))
            raise SettingsError(
                _("{table}: no password; set {variable}, or password_file in the settings file").format(
                    table=table, variable=variable
                )
            )
        return self.password.get_secret_value()

    def reveal_proxy_password(self) -> str:
        """Give the proxy's password in clear, for the proxy alone; "" where none is set."""
        return "" if self.proxy_password is None else self.proxy_password.get_secret_value()


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSettings:
    """One queue of the settings."""

    name: str
    url: str
    password: SecretStr | None = field(repr=False)
    window: tuple[str, ...] = ()  # in the zone of [hours]

    def reveal_password(self) -> str:
        """Give the password in clear, for the broker alone; "" where none is set."""
        return "" if self.password is None else self.password.get_secret_value()


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything the operator can set. `file` is the settings file that was read, None when there was none."""

    file: Path | None
    accounts: Mapping[str, AccountSettings]
    pace: PaceSettings
    batch: BatchSettings
    timeouts: TimeoutSettings
    settlement: SettlementSettings
    tracking: TrackingSettings
    retry: RetrySettings
    breaker: BreakerSettings
    results: ResultsSettings
    message: MessageSettings
    radar: RadarSettings
    consume: ConsumeSettings
    notify: NotifySettings
    wait: WaitSettings
    hours: HoursSettings
    money: MoneySettings
    canary: CanarySettings
    log: LogSettings
    queues: Mapping[str, QueueSettings]
    journal_path: Path
    state_dir: Path  # the user's: locks per account live here
    warnings: tuple[str, ...]

    def for_account(self, name: str = DEFAULT_ACCOUNT) -> AccountSettings:
        """Find an account by its name in the settings. Raises SettingsError with the nearest name."""
        if name in self.accounts:
            return self.accounts[name]
        place = _("the settings") if self.file is None else str(self.file)
        raise SettingsError(
            _("--account {name}: no such account in {place}{hint}").format(
                name=name, place=place, hint=_hint(name, list(self.accounts))
            )
        )

    def account_of(self, account_key: str) -> AccountSettings | None:
        """The account whose login has this key; None where the settings know it no more."""
        return next((each for each in self.accounts.values() if each.account_key == account_key), None)

    def for_queue(self, name: str) -> QueueSettings:
        """Find a queue by its name in the settings. Raises SettingsError with the nearest name."""
        if name in self.queues:
            return self.queues[name]
        place = _("the settings") if self.file is None else str(self.file)
        raise SettingsError(
            _("{name}: neither an address (scheme://host:port/queue) nor a [queues.{name}] in {place}{hint}").format(
                name=name, place=place, hint=_hint(name, list(self.queues))
            )
        )


def load_settings(
    config: Path | None = None, *, overrides: Mapping[str, object], environ: Mapping[str, str] | None = None
) -> Settings:
    """Read and check everything. Raises SettingsError that lists all problems, one a line, each with its source.

    `overrides` are the flags by dotted key (`{"batch.max_recipients": 50}`); None means the flag was not given.
    The file is `config`, else the one XINSHI_CONFIG names, else xinshi.toml in the user's configuration folder if it
    exists. Relative paths in it are relative to it; in variables and flags, to the working directory.
    """
    environ = os.environ if environ is None else environ
    path = _settings_file(config, environ)
    problems: list[str] = []
    layers = (
        _read_flags(overrides),
        _read_environment(environ, problems),
        _Layer({}, str) if path is None else _read_file(path, problems),
    )
    joined: dict[str, Any] = {}
    for layer in reversed(layers):
        _lay_over(joined, layer.values)
    _fetch_passwords(joined, layers, problems)
    document = _validate(joined, layers, problems)
    if document is not None:
        problems += [f"{_place(key, layers)}{problem}" for key, problem in _contradictions(document)]
    if problems or document is None:
        raise SettingsError("\n".join(problems))
    return _settings(document, path, _user_folder(environ, "XDG_STATE_HOME", ".local/state"))


# ── where it comes from ──────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class _Layer:
    """One source: nested values, and how a key of it is called where the operator wrote it."""

    values: dict[str, Any]
    name: Callable[[Key], str]

    def holds(self, key: Key) -> bool:
        value: object = self.values
        for part in key:
            if not isinstance(value, dict) or part not in value:
                return False
            value = value[part]
        return True


def _settings_file(config: Path | None, environ: Mapping[str, str]) -> Path | None:
    if config is None and environ.get(CONFIG_VARIABLE):
        config = Path(environ[CONFIG_VARIABLE])
    if config is not None:
        return config.expanduser().absolute()
    usual = _user_folder(environ, "XDG_CONFIG_HOME", ".config") / "xinshi.toml"
    return usual if os.path.exists(usual) else None  # Path.exists raises where the folder is closed to us


def _user_folder(environ: Mapping[str, str], variable: str, usual: str) -> Path:
    """The user's xinshi folder. The XDG rules say that a relative value is to be ignored."""
    given = Path(environ.get(variable, ""))
    home = Path(environ.get("HOME") or os.path.expanduser("~"))
    folder = given if given.is_absolute() else home / usual
    if not folder.is_absolute():
        raise SettingsError(
            _("{variable}: neither it nor HOME names a folder; set one of them").format(variable=variable)
        )
    return folder / "xinshi"


def _read_file(path: Path, problems: list[str]) -> _Layer:
    try:
        text = path.read_bytes().decode("utf-8-sig")  # Windows editors put a byte order mark in front
        values = tomllib.loads(text)
    except OSError as exc:
        raise SettingsError(
            _("{path}: cannot be read: {strerror}").format(path=path, strerror=system_words(exc))
        ) from exc
    except UnicodeDecodeError as exc:
        raise SettingsError(_("{path}: is not UTF-8 (byte {byte})").format(path=path, byte=exc.start + 1)) from exc
    except tomllib.TOMLDecodeError as exc:
        raise SettingsError(_("{path}: is not valid TOML: {exc}").format(path=path, exc=exc)) from exc
    for key, table in _secret_tables(values):
        for secret in _SECRETS:
            if table.pop(secret, None) is not None:
                problems.append(
                    _(
                        "{path}: {key}: a password does not belong in this file, which gets copied and committed; set "
                        "{variable}, or {secret}_file to a file that only you may read"
                    ).format(path=path, key=_dotted((*key, secret)), variable=_variable((*key, secret)), secret=secret)
                )
    for name in [name for name in values if name.startswith("_")]:  # BaseSettings would take them for its own options
        del values[name]
        problems.append(_("{path}: {name}: unknown key").format(path=path, name=name))
    _anchor(values, path.parent)
    return _Layer(values, lambda key: f"{path}: {_dotted(key)}")


def _read_environment(environ: Mapping[str, str], problems: list[str]) -> _Layer:
    others = (CONFIG_VARIABLE, VARIABLE)
    ours = {name: value for name, value in environ.items() if name.startswith(PREFIX) and name not in others}
    known = {name: value for name, value in ours.items() if _is_key(_key_of(name))}
    variables = [_variable(key) for key in _keys(_Document)]
    for name in sorted(ours.keys() - known.keys()):
        key = _key_of(name)
        same_account = [_variable((*key[:2], *leaf)) for leaf in _keys(_NAMED[key[0]])] if key[0] in _NAMED else []
        problems.append(
            _("{name}: unknown variable{hint}").format(name=name, hint=_hint(name, same_account + variables))
        )
    source = EnvSettingsSource(_Document)
    source.env_vars = {name.lower(): value for name, value in known.items()}
    values = source()
    _anchor(values, Path.cwd())
    return _Layer(values, _variable)


def _read_flags(overrides: Mapping[str, object]) -> _Layer:
    values: dict[str, Any] = {}
    for dotted, value in overrides.items():
        *parents, last = dotted.split(".")
        table = values
        for parent in parents if value is not None else ():
            table = table.setdefault(parent, {})
        if value is not None:
            table[last] = str(value) if isinstance(value, Path) else value
    _anchor(values, Path.cwd())
    return _Layer(values, _flag)


def _anchor(values: dict[str, Any], base: Path) -> None:
    """Make the paths in one source absolute, while it is known what they are relative to."""
    for __, table in _secret_tables(values):
        for name in _PATHS:
            if isinstance(file := table.get(name), str) and file:
                table[name] = _absolute(file, base)
        if isinstance(profile := table.get("profile"), str) and ("/" in profile or profile.endswith(".toml")):
            table["profile"] = _absolute(profile, base)
    log = values.get("log")
    if isinstance(log, dict) and isinstance(file := log.get("file"), str) and file:
        log["file"] = _absolute(file, base)
    journal = values.get("journal")
    if isinstance(journal, dict) and isinstance(url := journal.get("url"), str) and url and ":/" not in url:
        journal["url"] = _absolute(url, base)


def _absolute(path: str, base: Path) -> str:
    try:
        expanded = Path(path).expanduser()
    except RuntimeError:  # ~somebody who does not exist: the file will be reported as missing
        expanded = Path(path)
    return os.path.normpath(base / expanded)


_SECRETS = ("password", "proxy_password", "dingtalk_secret")
_PATHS = (*(f"{secret}_file" for secret in _SECRETS), "tls_ca", "tls_cert", "tls_key")
_UNSHOWN = (*_SECRETS, "webhook", "wecom", "dingtalk")


def _secret_tables(values: Mapping[str, Any]) -> Iterator[tuple[Key, dict[str, Any]]]:
    """The tables in which secrets are: accounts, queues, notifications."""
    for single in ("account", "notify"):
        if isinstance(values.get(single), dict):
            yield (single,), values[single]
    for kind in _NAMED:
        named = values.get(kind)
        for name, table in named.items() if isinstance(named, dict) else ():
            if isinstance(table, dict):
                yield (kind, name), table


def _lay_over(below: dict[str, Any], above: Mapping[str, Any]) -> None:
    for name, value in above.items():
        if isinstance(value, dict) and isinstance(below.get(name), dict):
            _lay_over(below[name], value)
        else:
            below[name] = copy.deepcopy(value)  # a source must stay what it was, to tell where a value came from


# ── passwords ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _fetch_passwords(joined: dict[str, Any], layers: tuple[_Layer, ...], problems: list[str]) -> None:
    """Read the files of the secrets that did not come from a variable."""
    for key, table in _secret_tables(joined):
        for secret in _SECRETS:
            file = table.get(f"{secret}_file")
            if isinstance(file, str) and file and secret not in table:
                try:
                    table[secret] = _read_password(Path(file))
                except ValueError as exc:
                    problems.append(f"{_place((*key, f'{secret}_file'), layers)}: {file}: {exc}")


def _read_password(path: Path) -> str:
    """Read one line that nobody else may read. Raises ValueError, whose text never holds any of the content."""
    try:
        mode = path.stat().st_mode
        if mode & 0o077:
            raise ValueError(_("others may read it; run: chmod 600 '{path}'").format(path=path))
        password = path.read_bytes().decode("utf-8-sig").rstrip("\r\n")
    except OSError as exc:
        raise ValueError(_("cannot be read: {strerror}").format(strerror=system_words(exc))) from exc
    except UnicodeDecodeError:
        raise ValueError(_("is not UTF-8")) from None  # the cause would carry the bytes
    if not password:
        raise ValueError(_("is empty"))
    if "\n" in password:
        raise ValueError(_("has more than one line"))
    return password


# ── what is wrong with it ────────────────────────────────────────────────────────────────────────────────────────────


def _validate(joined: dict[str, Any], layers: tuple[_Layer, ...], problems: list[str]) -> _Document | None:
    try:
        return _Document(**joined)
    except ValidationError as exc:
        # A union reports once for each of its members; the operator wrote one value.
        found = exc.errors(include_url=False, include_context=False)
        problems += dict.fromkeys(_problem(error, joined, layers) for error in found)
        return None


def _problem(error: ErrorDetails, joined: Mapping[str, Any], layers: tuple[_Layer, ...]) -> str:
    key = tuple(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return _("{place}: unknown key{hint}").format(place=_place(key, layers), hint=_nearest_key(key))
    if error["type"] == "missing":
        return _("{place}: {name} is missing; it must be {allowed}").format(
            place=_place(key[:-1], layers), name=key[-1], allowed=_allowed(key)
        )
    if key[-1] == "[key]":
        key = key[:-1]
        return _("{place}: must be {allowed}").format(place=_place(key, layers), allowed=_allowed(key[:1]))
    key = _trimmed(key)
    if error["type"] in ("model_type", "model_attributes_type", "dict_type"):
        return _("{place}: must be a table, [{key}]").format(place=_place(key, layers), key=_dotted(key))
    return _("{place}{shown}: must be {allowed}").format(
        place=_place(key, layers), shown=_shown(key, joined), allowed=_allowed(key)
    )


def _place(key: Key, layers: tuple[_Layer, ...]) -> str:
    """How the operator wrote this key, in the highest source that has it."""
    return next((layer.name(key) for layer in layers if layer.holds(key)), _dotted(key))


def _shown(key: Key, joined: Mapping[str, Any]) -> str:
    """The value as it was given, unless it is or may hold a secret."""
    value: Any = joined
    for part in key:
        value = value[part]
    if key[-1] in _UNSHOWN or (key[-1] in ("url", "proxy") and "@" in str(value)):
        return ""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return f" = {text if len(text) <= 80 else text[:79] + '…'}"


def _contradictions(document: _Document) -> Iterator[tuple[Key, str]]:
    """What no single key shows: the key and the rest of the sentence."""
    if DEFAULT_ACCOUNT in document.accounts:
        yield ("accounts", DEFAULT_ACCOUNT), _(": this name is taken by [account]; choose another")
    accounts: dict[Key, _Account] = {("account",): document.account}
    accounts |= {("accounts", name): section for name, section in document.accounts.items()}
    for place, account in accounts.items():
        yield from _contradictions_of(place, account)
    if document.wait.poll_max_s < document.wait.poll_s:
        given = f"{document.wait.poll_max_s:g}"
        yield (
            ("wait", "poll_max_s"),
            _(" = {given}: must be at least wait.poll_s = {least:g}").format(given=given, least=document.wait.poll_s),
        )
    retry = document.retry
    if retry.wait_max_s < retry.wait_s:
        yield (
            ("retry", "wait_max_s"),
            _(" = {given:g}: must be at least retry.wait_s = {least:g}").format(
                given=retry.wait_max_s, least=retry.wait_s
            ),
        )
    consume = document.consume
    if consume.linger_ms / 1000 > consume.idle_s / 2:
        most = consume.idle_s * 500
        yield (
            ("consume", "linger_ms"),
            _(
                " = {given:g}: must be at most half of consume.idle_s, {most:g}; the broker would give it to another"
            ).format(given=consume.linger_ms, most=most),
        )
    limit = document.batch.max_recipients
    paces: dict[Key, PaceSettings] = {("pace",): document.pace}
    paces |= {("accounts", name, "pace"): section.pace for name, section in document.accounts.items()}
    for key, pace in paces.items():
        if 0 < pace.numbers_per_second < limit:
            given = f"{pace.numbers_per_second:g}"
            mend = _("lower batch.max_recipients, or set 0 for no limit")
            yield (
                (*key, "numbers_per_second"),
                _(" = {given}: a batch of batch.max_recipients = {limit} would never be within it; {mend}").format(
                    given=given, limit=limit, mend=mend
                ),
            )
    try:
        _journal_path(document.journal.url, Path("/"))
    except ValueError:
        key = ("journal", "url")
        yield key, _(' = "{url}": must be {allowed}').format(url=document.journal.url, allowed=_allowed(key))


def _contradictions_of(place: Key, account: _Account) -> Iterator[tuple[Key, str]]:
    if account.url.startswith("http:"):
        for name in ("tls_ca", "tls_cert"):
            if getattr(account, name):
                yield (
                    (*place, name),
                    _(": {place}.url is http, and only an https gateway has a certificate").format(
                        place=_dotted(place)
                    ),
                )
    if account.tls_key and not account.tls_cert:
        yield (*place, "tls_key"), _(": says nothing without tls_cert")
    if account.proxy_user and not account.proxy:
        yield (*place, "proxy_user"), _(": says nothing without proxy")


def _warnings(settings: _Document, accounts: Mapping[str, AccountSettings]) -> Iterator[str]:
    needed_s = settings.timeouts.answer_s + SERVER_LIMIT_S
    if needed_s > settings.settlement.min_age_s:
        yield (
            _(
                "settlement.min_age_s = {given:g} is below timeouts.answer_s + {limit} = {needed:g}: a slow gateway may "
                "still take a batch that was already settled as not taken."
            ).format(given=settings.settlement.min_age_s, limit=SERVER_LIMIT_S, needed=needed_s)
        )
    for account in accounts.values():
        if account.url.startswith("http://") and not _is_loopback(account.url):
            yield _('Account "{name}" speaks http: its password and every number cross the network in clear.').format(
                name=account.name
            )


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


# ── keys and their names ─────────────────────────────────────────────────────────────────────────────────────────────


def _dotted(key: Key) -> str:
    return ".".join(key)


def _variable(key: Key) -> str:
    return PREFIX + "__".join(key).upper()


def _key_of(variable: str) -> Key:
    return tuple(variable.removeprefix(PREFIX).lower().split("__"))


def _flag(key: Key) -> str:
    return _FLAGS.get(_dotted(key), "--" + "-".join(key).replace("_", "-"))


def _keys(model: type[BaseModel]) -> Iterator[Key]:
    """Every key that takes a value, in the order of the sample. Those of named accounts and queues are left out."""
    for name, info in model.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            yield from ((name, *key) for key in _keys(info.annotation))
        elif name not in _NAMED:
            yield (name,)


def _is_key(key: Key) -> bool:
    return (len(key) > 2 and key[0] in _NAMED and key[2:] in _keys(_NAMED[key[0]])) or key in _keys(_Document)


def _table(key: Key) -> type[BaseModel]:
    """The model of the table that holds this key."""
    model: type[BaseModel] = _Document
    named = len(key) > 2 and key[0] in _NAMED
    if named:
        model = _NAMED[key[0]]
    for part in key[2:-1] if named else key[:-1]:
        annotation = model.model_fields[part].annotation
        assert isinstance(annotation, type)
        model = annotation
    return model


def _allowed(key: Key) -> str:
    """What a key takes, in words."""
    return _(str(_table(key).model_fields[key[-1]].description))


def _trimmed(key: Key) -> Key:
    """Drop what pydantic appends for the member of a union."""
    return next((key[:length] for length in range(len(key), 0, -1) if _is_key(key[:length])), key)


def _nearest_key(key: Key) -> str:
    """Suggest a neighbour in the same table, else the same name in another table, else what the table knows."""
    neighbours = [name for name in _table(key).model_fields if name not in _SECRETS]
    if near := get_close_matches(key[-1], neighbours, n=1):
        return _("; did you mean {name}?").format(name=near[0])
    elsewhere = [_dotted(found) for found in _keys(_Document) if found[-1] == key[-1]]
    return (
        _("; did you mean {name}?").format(name=elsewhere[0])
        if elsewhere
        else _("; known are {names}").format(names=", ".join(neighbours))
    )


def _hint(name: str, candidates: list[str]) -> str:
    near = get_close_matches(name, candidates, n=1)
    return _("; did you mean {name}?").format(name=near[0]) if near else ""


# ── what comes out ───────────────────────────────────────────────────────────────────────────────────────────────────


def _settings(document: _Document, path: Path | None, state_dir: Path) -> Settings:
    accounts = {DEFAULT_ACCOUNT: _account(DEFAULT_ACCOUNT, document.account, document.pace)}
    for name, section in document.accounts.items():
        own = section.pace.model_dump(exclude_unset=True)
        accounts[name] = _account(name, section, document.pace.model_copy(update=own))
    return Settings(
        file=path,
        accounts=accounts,
        pace=document.pace,
        batch=document.batch,
        timeouts=document.timeouts,
        settlement=document.settlement,
        tracking=document.tracking,
        retry=document.retry,
        breaker=document.breaker,
        results=document.results,
        message=document.message,
        radar=document.radar,
        consume=document.consume,
        notify=document.notify,
        wait=document.wait,
        hours=document.hours,
        money=document.money,
        canary=document.canary,
        log=document.log,
        queues={
            name: QueueSettings(name=name, url=each.url, password=each.password, window=each.window)
            for name, each in document.queues.items()
        },
        journal_path=_journal_path(document.journal.url, state_dir),
        state_dir=state_dir,
        warnings=tuple(_warnings(document, accounts)),
    )


def _account(name: str, section: _Account, pace: PaceSettings) -> AccountSettings:
    return AccountSettings(
        name=name,
        url=section.url,
        userid=section.userid,
        account=section.account,
        profile=section.profile,
        exclusive=section.exclusive,
        signature=section.signature,
        opt_out=section.opt_out,
        price_yuan_per_point=section.price_yuan_per_point,
        tls_ca=section.tls_ca,
        tls_cert=section.tls_cert,
        tls_key=section.tls_key,
        proxy=section.proxy,
        proxy_user=section.proxy_user,
        source_address=section.source_address,
        pace=pace,
        password=section.password,
        proxy_password=section.proxy_password,
    )


def _journal_path(url: str, state_dir: Path) -> Path:
    """Turn the journal's address into a file. Raises ValueError for a database the engine cannot keep it in."""
    if not url:
        return state_dir / "xinshi.db"
    if url.startswith("sqlite:///"):  # people write three slashes or four
        return Path("/" + url.removeprefix("sqlite:///").lstrip("/"))
    if ":/" in url:
        raise ValueError(url)
    return Path(url)
