"""The settings file as a model: a class a table, each with its defaults."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from engine.language import N_
from engine.settings.checks import (
    AccountName,
    Count,
    Number,
    as_list,
    as_windows,
    as_words,
    checked_base_url,
    checked_ip_address,
    checked_proxy_url,
    checked_queue_url,
    checked_web_url,
    known_timezone,
    known_window,
    no_boolean,
)
from engine.settings.keys import PREFIX


class _Section(BaseModel):
    """One table of the file. A field's description says what is allowed; it ends in the problem's text."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, hide_input_in_errors=True)


class Account(_Section):
    url: Annotated[str, AfterValidator(checked_base_url)] = Field(
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
    price_yuan_per_point: Annotated[Decimal, BeforeValidator(no_boolean)] = Field(
        default=Decimal(0),
        ge=0,
        le=1000,
        allow_inf_nan=False,
        description=N_("yuan from 0 (not known) to 1000, such as 0.045"),
    )
    tls_ca: str = Field(default="", description=N_("the path of a file with certificates (PEM)"))
    tls_cert: str = Field(default="", description=N_("the path of a file with a certificate (PEM)"))
    tls_key: str = Field(default="", description=N_("the path of a file with the certificate's key (PEM)"))
    proxy: Annotated[str, AfterValidator(checked_proxy_url)] = Field(
        default="", description=N_("an address like http://host:port; user and password stand in keys of their own")
    )
    proxy_user: str = Field(default="", pattern="^[^:]*$", description=N_("text in quotes, without a colon"))
    proxy_password: SecretStr | None = Field(default=None, min_length=1, repr=False, description=N_("not empty"))
    proxy_password_file: str = Field(default="", description=N_("the path of a file that only you may read"))
    source_address: Annotated[str, AfterValidator(checked_ip_address)] = Field(
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
    opt_out_words: Annotated[tuple[str, ...], NoDecode, BeforeValidator(as_list)] = Field(
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


_Robot = Annotated[SecretStr, AfterValidator(checked_web_url)]  # whoever has such an address can write to the group


class NotifySettings(_Section):
    """Who is told of a pause, an end, a low balance, doubts; and how."""

    on: Annotated[tuple[Literal["pause", "end", "low_balance", "doubts"], ...], NoDecode, BeforeValidator(as_list)] = (
        Field(
            default=("pause", "end", "low_balance", "doubts"),
            description=N_('a list of "pause", "end", "low_balance" and "doubts"'),
        )
    )
    low_balance_points: Annotated[Decimal, BeforeValidator(no_boolean)] = Field(
        default=Decimal(0), ge=0, allow_inf_nan=False, description=N_("points from 0 (never)")
    )
    command: Annotated[tuple[str, ...], NoDecode, BeforeValidator(as_words)] = Field(
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

    window: Annotated[
        tuple[Annotated[str, AfterValidator(known_window)], ...], NoDecode, BeforeValidator(as_windows)
    ] = Field(default=(), description=N_('a list such as ["08:30-12:00", "Mon-Fri 13:30-20:00"]'))
    timezone: Annotated[str, AfterValidator(known_timezone)] = Field(
        default="Asia/Shanghai", description=N_("a time zone such as Asia/Shanghai")
    )


class MoneySettings(_Section):
    """What of the points is not for campaigns."""

    keep_points: Annotated[Decimal, BeforeValidator(no_boolean)] = Field(
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

    url: Annotated[str, AfterValidator(checked_queue_url)] = Field(
        description=N_("an address like redis://host:port/stream?group=NAME, without a password")
    )
    password: SecretStr | None = Field(default=None, min_length=1, repr=False, description=N_("not empty"))
    password_file: str = Field(default="", description=N_("the path of a file that only you may read"))
    window: Annotated[
        tuple[Annotated[str, AfterValidator(known_window)], ...], NoDecode, BeforeValidator(as_windows)
    ] = Field(default=(), description=N_('a list such as ["08:30-12:00", "Mon-Fri 13:30-20:00"]'))


class _Journal(_Section):
    url: str = Field(default="", description=N_("a path or sqlite:///absolute/path; empty for the user's state folder"))


class _NamedAccount(Account):
    """A further account. Nothing that names it has a default: a forgotten line must not send through another one."""

    url: Annotated[str, AfterValidator(checked_base_url)] = Field(
        description=str(Account.model_fields["url"].description)
    )
    userid: str = Field(description=str(Account.model_fields["userid"].description))
    account: str = Field(description=str(Account.model_fields["account"].description))
    pace: PaceSettings = PaceSettings()


class Document(BaseSettings):
    """The whole file, with the environment and the flags laid over it."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", frozen=True, extra="forbid", hide_input_in_errors=True
    )

    account: Account = Account()
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


NAMED: Mapping[str, type[BaseModel]] = {"accounts": _NamedAccount, "queues": _Queue}
"""Tables of tables under names that the operator chooses."""
