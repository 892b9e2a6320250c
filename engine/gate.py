"""One account's gateway with its settings: what can be asked without a journal."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from engine.dispatch.retry import RetryPolicy, until_read
from engine.errors import (
    BadAnswer,
    NoAnswer,
    NotSent,
)
from engine.gateway.http import HttpGateway, Timeouts
from engine.gateway.profile import load_profile
from engine.gateway.route import Route
from engine.gateway.wire import Credentials, KeywordAnswer
from engine.language import _
from engine.model import Balance
from engine.settings import AccountSettings, Settings
from engine.telemetry import hide

Result = TypeVar("Result")
MOST_IN_FLIGHT = 1_000
"""Connections, as many as settings may ever allow: how many requests are under way is the lane's business."""


class Gate:
    """One account's gateway with its settings: what can be asked without a journal."""

    def __init__(self, settings: Settings, account: AccountSettings) -> None:
        self.settings, self.account = settings, account
        self.profile = load_profile(account.profile)
        if settings.message.checkcontent:
            self.profile = replace(self.profile, checkcontent=True)
        password = account.reveal_password()
        hide(password)
        hide(account.reveal_proxy_password())
        self.http = HttpGateway(
            profile=self.profile,
            url=account.url,
            credentials=Credentials(userid=account.userid, account=account.account, password=password),
            timeouts=Timeouts(
                connect_s=settings.timeouts.connect_s,
                answer_s=settings.timeouts.answer_s,
                keepalive_s=settings.timeouts.keepalive_s,
            ),
            in_flight=MOST_IN_FLIGHT,
            clock=_now,
            route=_route_of(account),
        )
        self.retry = RetryPolicy(
            attempts=settings.retry.attempts, wait_s=settings.retry.wait_s, wait_max_s=settings.retry.wait_max_s
        )

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: Settings, account_name: str) -> AsyncIterator[Gate]:
        """Connectable, nothing asked yet. Raises SettingsError."""
        gate = cls(settings, settings.for_account(account_name))
        async with gate.http:
            yield gate

    async def balance(self) -> Balance:
        """The points left. Raises GatewayError when the repeated reads were all in vain."""
        return await self._read(self.http.balance)

    async def check_keywords(self, text: str) -> KeywordAnswer:
        """Whether the gateway finds forbidden words. Sends nothing. Raises GatewayError."""

        async def ask() -> KeywordAnswer:  # tenacity awaits only what is a coroutine function; a lambda is none
            return await self.http.check_keywords(text)

        return await self._read(ask)

    async def _read(self, read: Callable[[], Awaitable[Result]]) -> Result:
        try:
            return await until_read(read, self.retry, asyncio.sleep)
        except NotSent as error:  # "not sent" is said of messages; nobody asked for one here
            problem = error.problem.removeprefix(_("not sent: {problem}").format(problem=""))
            raise NotSent(
                _("the gateway cannot be reached: {problem}; check account.url").format(problem=problem),
                http_status=error.http_status,
            ) from error
        except (NoAnswer, BadAnswer) as error:
            problem = _("no usable answer from the gateway: {problem}; check account.url and profile").format(
                problem=error.problem
            )
            raise type(error)(problem, raw=error.raw, http_status=error.http_status) from error


def _route_of(account: AccountSettings) -> Route:
    return Route(
        proxy=account.proxy,
        proxy_user=account.proxy_user,
        proxy_password=account.reveal_proxy_password(),
        tls_ca=Path(account.tls_ca) if account.tls_ca else None,
        tls_cert=Path(account.tls_cert) if account.tls_cert else None,
        tls_key=Path(account.tls_key) if account.tls_key else None,
        source_address=account.source_address,
    )


def _now() -> datetime:
    return datetime.now(UTC)
