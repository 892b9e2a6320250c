"""`consume`: send what a queue brings."""

from __future__ import annotations

import hashlib
import socket
from typing import Any

from engine.cli import out, pages
from engine.cli.beginning import read_settings, same_journal
from engine.cli.exits import AGAIN, OK, code_of_summary
from engine.cli.progress import announcing, is_lively, showing
from engine.cli.stopping import stopping
from engine.cli.words import Common, Order
from engine.clock import wall_time
from engine.journal.port import Conduct
from engine.language import _
from engine.live import Live
from engine.loop import run_in_loop
from engine.orders.conduct import decided
from engine.queues import Address, Source, Terms, open_source
from engine.queues.source import parse_address
from engine.runs.consuming import Consumed, ConsumeOrder
from engine.runtime import Engine
from engine.settings import Settings


def consume(source: str, order: Order, common: Common, *, once: bool, outcomes: str) -> int:
    """Consume until a signal, a reason to pause, or, once, until the queue is empty."""
    settings = read_settings(common, order)
    address, password, windows = _found(settings, source)
    conduct = decided(order.wish(at=wall_time()), settings, Conduct(windows=windows, zone=settings.hours.timezone))
    queue = _opened(settings, address, password)
    wanted = ConsumeOrder(
        name=address.path[-1] if "://" in source else source,
        linger_s=settings.consume.linger_ms / 1000,
        backlog=settings.consume.backlog,
        idle_s=settings.consume.idle_s,
        outcomes=outcomes,
        once=once,
        signature=order.signature,
        opt_out=order.opt_out,
        conduct=conduct,
    )
    live = announcing(Live(), common)

    async def main() -> int:
        async with (
            Engine.open(settings, common.account, apart=True) as engine,
            stopping(common, live, engine) as (stop, caught),
        ):
            out.tell(
                common,
                (
                    _("Consuming {name}; ends when it is empty.\n")
                    if once
                    else _("Consuming {name}; Ctrl-C ends it.\n")
                ).format(name=queue.name),
            )
            with showing(live, is_lively(common)):
                done = await engine.consume(queue, wanted, live=live, stop=stop)
        if common.json:
            out.data(_as_json(queue.name, done))
        elif not common.quiet:
            out.page(_page(queue.name, done, same_journal(common)))
        return _code(done, caught)

    return run_in_loop(main)


def _found(settings: Settings, source: str) -> tuple[Address, str, tuple[str, ...]]:
    """The address, the password and the hours, from the settings where `source` is a name there."""
    if "://" in source:
        return parse_address(source), "", ()
    queue = settings.for_queue(source)
    return parse_address(queue.url), queue.reveal_password(), queue.window


def _opened(settings: Settings, address: Address, password: str) -> Source:
    # The same name after a restart, and another one for another journal: what was handed to it is handed to it again.
    journal = hashlib.sha256(str(settings.journal_path).encode()).hexdigest()[:8]
    return open_source(
        address,
        Terms(
            consumer=f"xinshi-{socket.gethostname()}-{journal}",
            password=password,
            ahead=settings.consume.ahead,
            idle_s=settings.consume.idle_s,
            connect_s=settings.timeouts.connect_s,
            answer_s=settings.timeouts.answer_s,
        ),
    )


def _code(done: Consumed, caught: list[int]) -> int:
    if caught:
        return 128 + caught[0]
    if done.end.reason is not None:
        return AGAIN
    worst = {code_of_summary(campaign) for campaign in done.campaigns}
    return max(worst, default=OK)  # paused before doubts, doubts before refusals


def _as_json(name: str, done: Consumed) -> dict[str, Any]:
    counted = done.counted
    return {
        "schema": 1,
        "queue": name,
        "reason": None if done.end.reason is None else done.end.reason.value,
        "messages": {"taken": counted.taken, "redelivered": counted.redelivered, "dead": counted.dead},
        "outcomes": counted.told,
        "campaigns": [campaign.as_json() for campaign in done.campaigns],
    }


def _page(name: str, done: Consumed, words: list[str]) -> str:
    counted = done.counted
    lines: list[pages.Line] = [
        (_("queue"), name, ""),
        (_("messages"), counted.taken, ""),
    ]
    if counted.redelivered:
        lines.append((_("known already"), counted.redelivered, _("handed over again by the broker, not sent again")))
    if counted.dead:
        lines.append((_("dead letters"), counted.dead, _("could not be sent; the reason stands beside each")))
    if counted.told:
        lines.append((_("outcomes told"), counted.told, ""))
    if done.end.reason is not None:
        lines.append((_("ended"), done.end.detail or done.end.reason.value, _("the same command goes on")))
    summaries = "".join("\n" + pages.summary_page(campaign, words=words) for campaign in done.campaigns)
    return pages.grid(lines) + summaries
