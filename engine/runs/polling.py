"""Reports and replies of one account, read while something else goes on or for their own sake."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import datetime

from engine.dispatch.waiting import beside_sending, ended_unless, unless_set
from engine.gate import Gate
from engine.gateway.http import RawReply
from engine.gateway.polls import Polled
from engine.gateway.profile import Profile, load_profile
from engine.gateway.wire import read_replies, read_reports
from engine.journal.port import PollKind
from engine.journal.store import SqlJournal
from engine.language import _
from engine.live import Live, Stop
from engine.runs.canary import Spikes
from engine.settings import AccountSettings, Settings
from engine.tracking import Barred, Poller, Seam, Tracker, Waits

CATCH_UP_S = 1.0
SMALL_POLL = 200  # reports asked for at once while doubts are open
LONGEST_WAIT_S = 600.0  # between two polls that failed


class Polling:
    """Makes the account's trackers. What they read is told to whoever waits for reports."""

    def __init__(
        self,
        settings: Settings,
        gate: Gate,
        journal: SqlJournal,
        *,
        clock: Callable[[], datetime],
        on_read: Callable[[int, int], None],
    ) -> None:
        self._settings, self._gate, self._journal = settings, gate, journal
        self._clock, self._on_read = clock, on_read
        self.spikes: Spikes | None = None  # of the campaign that is being sent
        self.reported = asyncio.Event()  # reports came

    @asynccontextmanager
    async def beside(self, barred: Barred, live: Live, stop: Stop) -> AsyncIterator[None]:
        """Poll beside the block. Trouble with it never stops the block.

        Before the block begins the queues are read to their end, as far as that goes in a moment: what waits there is of earlier
        sends, and who opted out meanwhile is not sent to. A long queue is read on beside sending; of reports, as soon as it is known
        to be one. What earlier processes asked for and did not read is read in any case: that asks nobody.
        """
        await unless_set(stop.gently, self._read_kept(barred))
        if not self._settings.tracking.enabled:
            yield
            return
        over = asyncio.Event()
        tracker = self.tracker(barred, doubts_open=lambda: live.collector.progress().in_doubt > 0)
        running = asyncio.create_task(
            beside_sending(tracker.run(over), "reports and replies are no longer read"), name="tracking"
        )
        try:
            live.phase = _("reading reports and replies")
            with suppress(TimeoutError):
                async with asyncio.timeout(CATCH_UP_S):
                    await unless_set(stop.gently, tracker.caught_up())
            yield
        finally:
            over.set()
            await ended_unless(stop.now, running)

    def tracker(
        self,
        barred: Barred,
        *,
        once: bool = False,
        doubts_open: Callable[[], bool] = lambda: False,
    ) -> Tracker:
        """The account's two pollers. While doubts are open a lost poll would cost evidence: then they ask for less."""
        account, http, profile = self._gate.account, self._gate.http, self._gate.profile
        most = profile.status_num

        async def replies(_: int) -> RawReply:
            return await http.replies()

        loop = asyncio.get_running_loop()

        def read(body: bytes, charset: str | None) -> Polled:
            polled = read_reports(body, charset, profile)
            loop.call_soon_threadsafe(self._note_reports, polled)  # answers are read in a thread
            return polled

        of_reports, of_replies = self._seams(account, profile, barred)
        return self._tracker(
            account,
            replace(
                of_reports,
                ask=http.reports,
                read=read,
                most=lambda: min(most, SMALL_POLL) if doubts_open() else most,
                on_read=self._on_read,
            ),
            replace(of_replies, ask=replies, on_read=self._on_read),
            once=once,
        )

    async def _read_kept(self, barred: Barred) -> None:
        """Read what earlier processes asked for and did not read, of every account whose opt-outs count for this one."""
        mine = self._gate.account
        everywhere = self._settings.tracking.opt_out_scope == "all"
        heard = (*self._settings.accounts.values(), mine) if everywhere else (mine,)
        for account in {each.account_key: each for each in heard}.values():
            reading = self.tracker(barred).read_kept() if account is mine else self._read_kept_of(account, barred)
            await beside_sending(reading, "kept answers to polls are not read")

    async def _read_kept_of(self, account: AccountSettings, barred: Barred) -> None:
        """Those of another account than this one. Raises SettingsError, JournalError."""
        if await self._journal.kept_polls(account.account_key, untried=True, limit=1):
            seams = self._seams(account, load_profile(account.profile), barred)
            await self._tracker(account, *seams, once=True).read_kept()

    def _seams(self, account: AccountSettings, profile: Profile, barred: Barred) -> tuple[Seam, Seam]:
        """For an account's reports and replies, without a way to ask for them."""
        tracking = self._settings.tracking
        seam = Seam(
            account=account.account_key,
            ask=_nobody,
            read=lambda body, charset: read_reports(body, charset, profile),
            journal=self._journal,
            most=lambda: None,
            clock=self._clock,
            barred=barred,
            opt_out_words=tracking.opt_out_words,
            opts_out_everywhere=tracking.opt_out_scope == "all",
        )
        return seam, replace(seam, read=lambda body, charset: read_replies(body, charset, profile))

    def _tracker(self, account: AccountSettings, reports: Seam, replies: Seam, *, once: bool) -> Tracker:
        tracking = self._settings.tracking
        return Tracker(
            account.account_key,
            self._journal,
            [
                Poller(PollKind.REPORT, reports, self._waits(tracking.report_interval_s, once=once)),
                Poller(PollKind.REPLY, replies, self._waits(tracking.reply_interval_s, once=once)),
            ],
        )

    def _note_reports(self, polled: Polled) -> None:
        if self.spikes is not None:
            self.spikes.reported(polled.reports)
        if polled.reports:
            self.reported.set()

    def _waits(self, interval_s: float, *, once: bool) -> Waits:
        retry = self._gate.retry
        return Waits(
            interval_s=interval_s,
            failure_s=retry.wait_s if once else interval_s,
            failure_max_s=retry.wait_max_s if once else max(interval_s, LONGEST_WAIT_S),
            failures_most=retry.attempts,
        )


async def _nobody(_: int) -> RawReply:
    raise AssertionError("only what is kept of this account is read")
