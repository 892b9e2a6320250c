"""What the operator says of when, how fast, how far and who first: from words to what the journal keeps with the campaign."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import datetime, tzinfo
from decimal import Decimal
from typing import TypeVar

from engine.dispatch.hours import Hours, read_moment, read_windows, zone_of
from engine.dispatch.schedule import FURTHEST, date_words, is_over, is_too_far
from engine.dispatch.timetable import moment_words
from engine.errors import PlanError, SendRefused
from engine.journal.port import Conduct
from engine.language import _
from engine.settings import PaceSettings, Settings

Value = TypeVar("Value")

ANY_TIME, NOW, NEVER = "any", "now", "never"
DELIVERED, WAIT_S = 0.8, 900.0
_SPAN = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(s|m|min|h)")
_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600}
_SHARE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*[%％]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """The operator's words, given at the moment `at`. None, or no window: nothing was said of it."""

    at: datetime
    begin: str | None = None
    windows: tuple[str, ...] = ()
    expire: str | None = None
    schedule: str | None = None
    keep_points: Decimal | None = None
    canary: int | None = None
    canary_delivered: str | None = None
    canary_wait: str | None = None
    requests_per_second: float | None = None
    numbers_per_second: float | None = None
    in_flight: int | None = None

    @property
    def says_anything(self) -> bool:
        """Whether the operator decided something."""
        return self != Wish(at=self.at)

    @property
    def says_only_a_pace(self) -> bool:
        """Whether nothing was said of hours, points and who goes first."""
        paceless = replace(self, requests_per_second=None, numbers_per_second=None, in_flight=None)
        return self.says_anything and not paceless.says_anything


def decided(wish: Wish, settings: Settings, stored: Conduct | None = None) -> Conduct:
    """What a campaign is sent under: as is said now, else as is stored, else as the settings say. Raises PlanError, SendRefused."""
    before = stored or Conduct(windows=settings.hours.window, zone=settings.hours.timezone)
    zone = zone_of(before.zone)
    conduct = replace(
        before,
        not_before=_moment(wish.begin, NOW, before.not_before, wish, zone, "--at"),
        windows=_windows(wish.windows) if wish.windows else before.windows,
        expires_at=_moment(wish.expire, NEVER, before.expires_at, wish, zone, "--expire"),
        scheduled_for=_moment(wish.schedule, NOW, before.scheduled_for, wish, zone, "--gateway-schedule"),
        keep_points=_said(wish.keep_points, before.keep_points),
        requests_per_second=_said(wish.requests_per_second, before.requests_per_second),
        numbers_per_second=_said(wish.numbers_per_second, before.numbers_per_second),
        in_flight=_said(wish.in_flight, before.in_flight),
    )
    conduct = _with_canary(conduct, wish)
    _refuse_at_odds(conduct)
    if conduct.canary and not settings.tracking.enabled:
        raise PlanError(
            _(
                "--canary waits for delivery reports, and tracking.enabled is false: another system reads them; leave "
                "--canary away"
            )
        )
    return conduct


def _refuse_at_odds(conduct: Conduct) -> None:
    """Raises PlanError, SendRefused where the gateway cannot keep the time together with what else was decided."""
    at = conduct.scheduled_for
    if at is None:
        return
    if conduct.not_before is not None:
        raise PlanError(
            _(
                "--gateway-schedule and --at: with --at it waits here and can be cancelled, with --gateway-schedule it waits at "
                "the gateway; leave one away (of a campaign that has one, `--at now` or `--gateway-schedule now` takes it back)"
            )
        )
    if conduct.canary:
        raise PlanError(
            _(
                "--gateway-schedule and --canary: a canary waits for reports, and they come after the time of the whole list; "
                "leave one away (--canary 0), or see the text first with --test"
            )
        )
    windows = Hours(windows=read_windows(conduct.windows), zone=zone_of(conduct.zone))
    if windows.opens_at(at) != at:
        raise SendRefused(
            _(
                "nothing was sent: --gateway-schedule {at} is outside the hours {windows} (--window); choose a time within "
                "them, or --window {any_time}"
            ).format(at=date_words(at), windows=", ".join(map(str, windows.windows)), any_time=ANY_TIME)
        )
    if conduct.expires_at is not None and conduct.expires_at < at:
        raise SendRefused(
            _(
                "nothing was sent: it expires (--expire) at {expires}, before --gateway-schedule {at}; choose an earlier time, "
                "or a later --expire"
            ).format(expires=date_words(conduct.expires_at), at=date_words(at))
        )


def refuse_unreachable(conduct: Conduct, now: datetime) -> None:
    """Raises SendRefused where nothing can be handed over for its time any more, or the time is too far away."""
    at = conduct.scheduled_for
    if at is None:
        return
    if is_over(at, now):
        raise SendRefused(
            _(
                "nothing was sent: --gateway-schedule {at} is over, or less than a minute away; choose a later time, or "
                "{now!r} to have it sent at once"
            ).format(at=date_words(at), now=NOW)
        )
    if is_too_far(at, now):
        raise SendRefused(
            _(
                "nothing was sent: --gateway-schedule {at} is more than {days} days away, and nothing can be taken back from "
                "the gateway; with --at it waits here"
            ).format(at=date_words(at), days=FURTHEST.days)
        )


def refuse_closed(conduct: Conduct, now: datetime) -> None:
    """Raises SendRefused where a campaign can never begin."""
    refuse_unreachable(conduct, now)
    hours = hours_of(conduct)
    if hours.opens_at(now) is None:
        assert conduct.expires_at is not None
        over = moment_words(conduct.expires_at, now, hours.zone)
        raise SendRefused(
            _(
                "nothing was sent: it expires at {over}, and its hours do not begin before that; change --expire, "
                "--window or --at"
            ).format(over=over)
        )


def hours_of(conduct: Conduct) -> Hours:
    """The hours in which requests may leave. What the gateway sends later may be handed over at any: its time is within them."""
    return Hours(
        not_before=conduct.not_before,
        windows=() if conduct.scheduled_for else read_windows(conduct.windows),
        expires_at=conduct.expires_at,
        zone=zone_of(conduct.zone),
    )


def keep_points(conduct: Conduct, settings: Settings) -> Decimal:
    """Points that are to stay; 0: none."""
    return settings.money.keep_points if conduct.keep_points is None else conduct.keep_points


def pace_of(conduct: Conduct, account: PaceSettings) -> PaceSettings:
    """How fast a campaign goes: as was said of it, else as its account may."""
    said = {
        "requests_per_second": conduct.requests_per_second,
        "numbers_per_second": conduct.numbers_per_second,
        "in_flight": conduct.in_flight,
    }
    return account.model_copy(update={name: value for name, value in said.items() if value is not None})


def signed(conduct: Conduct, settings: Settings) -> dict[str, str | int | float | None]:
    """What a plan hash covers of it."""
    hours = hours_of(replace(conduct, scheduled_for=None))
    at = conduct.scheduled_for
    return {
        **({} if at is None else {"gateway_schedule": at.isoformat()}),  # a plan without one has the hash it always had
        "not_before": None if hours.not_before is None else hours.not_before.isoformat(),
        "windows": ", ".join(sorted(map(str, hours.windows))),
        "zone": conduct.zone if hours.windows else "",
        "expires_at": None if hours.expires_at is None else hours.expires_at.isoformat(),
        "keep_points": f"{keep_points(conduct, settings).normalize():f}",
        "canary": conduct.canary,
        "canary_delivered": conduct.canary_delivered,
        "canary_wait_s": conduct.canary_wait_s,
    }


def _said(now: Value | None, before: Value | None) -> Value | None:
    return before if now is None else now


def _moment(
    said: str | None, none: str, before: datetime | None, wish: Wish, zone: tzinfo, flag: str
) -> datetime | None:
    if said is None:
        return before
    if said.strip().lower() == none:
        return None
    try:
        return read_moment(said, now=wish.at, zone=zone)
    except PlanError as error:
        raise PlanError(
            _("{flag}: {error}; {none!r} takes it back").format(flag=flag, error=error, none=none)
        ) from error


def _windows(said: tuple[str, ...]) -> tuple[str, ...]:
    if [each.strip().lower() for each in said] == [ANY_TIME]:
        return ()
    try:
        read_windows(said)
    except PlanError as error:
        raise PlanError(
            _("--window: {error}; {none!r} alone takes them back").format(error=error, none=ANY_TIME)
        ) from error
    return said


def _with_canary(conduct: Conduct, wish: Wish) -> Conduct:
    recipients = conduct.canary if wish.canary is None else wish.canary
    if not recipients:
        if wish.canary_delivered or wish.canary_wait:
            raise PlanError(_("--canary-delivered and --canary-wait say nothing without --canary"))
        return replace(conduct, canary=0, canary_delivered=0.0, canary_wait_s=0.0)
    return replace(
        conduct,
        canary=recipients,
        canary_delivered=_share(wish.canary_delivered)
        if wish.canary_delivered
        else conduct.canary_delivered or DELIVERED,
        canary_wait_s=_span_s(wish.canary_wait) if wish.canary_wait else conduct.canary_wait_s or WAIT_S,
    )


def _share(said: str) -> float:
    found = _SHARE.fullmatch(said.strip())
    if found is None or not 0 < float(found[1]) <= 100:
        raise PlanError(
            _("--canary-delivered {said!r} is no share; write a percentage up to 100%, such as 80%").format(said=said)
        )
    return float(found[1]) / 100


def _span_s(said: str) -> float:
    found = _SPAN.fullmatch(said.strip().lower())
    if found is None or float(found[1]) <= 0:
        raise PlanError(_("--canary-wait {said!r} is no time; write for example 90s, 15m or 2h").format(said=said))
    return float(found[1]) * _SECONDS[found[2]]
