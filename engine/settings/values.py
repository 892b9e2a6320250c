"""What the rest of the program is given: checked and frozen."""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import SecretStr

from engine.errors import SettingsError
from engine.language import _
from engine.settings.keys import DEFAULT_ACCOUNT, SERVER_LIMIT_S, variable_of
from engine.settings.known import hint_at
from engine.settings.sections import (
    Account,
    BatchSettings,
    BreakerSettings,
    CanarySettings,
    ConsumeSettings,
    Document,
    HoursSettings,
    LogSettings,
    MessageSettings,
    MoneySettings,
    NotifySettings,
    PaceSettings,
    RadarSettings,
    ResultsSettings,
    RetrySettings,
    SettlementSettings,
    TimeoutSettings,
    TrackingSettings,
    WaitSettings,
)


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
            variable = variable_of((*table.split("."), "password"))
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

    @property
    def _place(self) -> str:
        return _("the settings") if self.file is None else str(self.file)

    def for_account(self, name: str = DEFAULT_ACCOUNT) -> AccountSettings:
        """Find an account by its name in the settings. Raises SettingsError with the nearest name."""
        if name in self.accounts:
            return self.accounts[name]
        raise SettingsError(
            _("--account {name}: no such account in {place}{hint}").format(
                name=name, place=self._place, hint=hint_at(name, list(self.accounts))
            )
        )

    def account_of(self, account_key: str) -> AccountSettings | None:
        """The account whose login has this key; None where the settings know it no more."""
        return next((each for each in self.accounts.values() if each.account_key == account_key), None)

    def for_queue(self, name: str) -> QueueSettings:
        """Find a queue by its name in the settings. Raises SettingsError with the nearest name."""
        if name in self.queues:
            return self.queues[name]
        raise SettingsError(
            _("{name}: neither an address (scheme://host:port/queue) nor a [queues.{name}] in {place}{hint}").format(
                name=name, place=self._place, hint=hint_at(name, list(self.queues))
            )
        )


def _warnings(settings: Document, accounts: Mapping[str, AccountSettings]) -> Iterator[str]:
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


def frozen(document: Document, path: Path | None, state_dir: Path) -> Settings:
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
        journal_path=journal_path(document.journal.url, state_dir),
        state_dir=state_dir,
        warnings=tuple(_warnings(document, accounts)),
    )


def _account(name: str, section: Account, pace: PaceSettings) -> AccountSettings:
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


def journal_path(url: str, state_dir: Path) -> Path:
    """Turn the journal's address into a file. Raises ValueError for a database the engine cannot keep it in."""
    if not url:
        return state_dir / "xinshi.db"
    if url.startswith("sqlite:///"):  # people write three slashes or four
        return Path("/" + url.removeprefix("sqlite:///").lstrip("/"))
    if ":/" in url:
        raise ValueError(url)
    return Path(url)
