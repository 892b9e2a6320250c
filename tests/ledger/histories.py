"""Random histories of an account, with the truth: who was really taken. What the rows would say at any moment is `at`."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from heapq import heapify, heappop, heappush
from random import Random
from typing import Literal

from engine.ledger.evidence import Answered, AttemptKey, BalanceRead, Doubt, InFlight, Policy, Stretch

T0 = datetime(2026, 3, 1, 8, tzinfo=UTC)
OPENING = 10_000_000


def moment(second: float) -> datetime:
    """A second of the history as a time of day."""
    return T0 + timedelta(seconds=second)


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """How an account, its gateway and its network behave. Times in seconds, shares between 0 and 1."""

    batches: int = 600
    workers: int = 16
    latency: tuple[float, float] = (0.05, 0.15)
    pause: float = 0.0  # a worker rests up to this long between two requests
    lost: float = 0.05
    timeouts: float = 0.0  # share of the losses that are timeouts, the others are resets
    timeout_s: float = 3.0
    late: float = 0.0  # share of the taken timeouts that are taken up to min_age_s after giving up
    sizes: Literal["equal", "cycle", "random"] = "cycle"
    most: int = 100
    different: int = 16
    short: float = 0.0
    most_short: int = 5
    no_remaining: float = 0.0  # share of the accepted answers without a balance
    price: Decimal = Decimal(1)  # charged for a point expected
    lag_s: float = 0.0  # of the readings
    read_every_s: float = 0.0  # 0: only at the opening and the end
    tells_bought: bool = True
    top_ups: tuple[tuple[float, int], ...] = ()  # (share of the way, points)
    foreign: tuple[tuple[float, Decimal], ...] = ()
    refunds: tuple[tuple[float, Decimal], ...] = ()
    closes: bool = True  # quiet readings after everything
    policy: Policy = field(default_factory=lambda: Policy(min_age_s=3.0))


@dataclass(slots=True, kw_only=True)
class _Request:
    key: AttemptKey
    size: int
    sent: float
    ended: float
    handled: float | None  # None: never taken
    is_lost: bool
    is_late: bool = False
    lacking: int = 0
    remaining: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What happened, as the rows tell it at any moment, and what is true."""

    world: World
    requests: tuple[_Request, ...]
    reads: tuple[BalanceRead, ...]
    end: float

    @property
    def taken(self) -> dict[AttemptKey, bool]:
        return {request.key: request.handled is not None for request in self.requests}

    def at(self, second: float, *, policy: Policy | None = None) -> Stretch:
        """What the journal holds at this moment."""
        world, now = self.world, moment(second)
        answered, doubts, in_flight = [], [], []
        for request in self.requests:
            if request.sent > second:
                continue
            who = {"key": request.key, "campaign": "spring", "seq": request.key.batch_id, "size": request.size}
            full, sent_at, ended_at = Decimal(request.size), moment(request.sent), moment(request.ended)
            if request.ended > second:
                in_flight.append(InFlight(**who, sent_at=sent_at, full_charge=full))
            elif request.is_lost:
                doubts.append(
                    Doubt(
                        **who,
                        sent_at=sent_at,
                        gave_up_at=ended_at,
                        full_charge=full,
                        may_land_late=request.is_late,
                    )
                )
            else:
                answered.append(
                    Answered(
                        **who,
                        sent_at=sent_at,
                        answered_at=ended_at,
                        remaining=request.remaining,
                        full_charge=full,
                        charge=full - request.lacking,
                    )
                )
        reads = [read for read in self.reads if read.answered_at <= now]
        return Stretch(
            answered=answered,
            doubts=doubts,
            in_flight=in_flight,
            reads=reads,
            policy=policy or world.policy,
            now=now,
        )


def simulate(world: World, seed: int) -> History:
    """One history. The same world and seed give the same."""
    random = Random(seed)
    requests = _requests(world, random)
    last = max((request.ended for request in requests), default=0.0)
    events: list[tuple[float, Decimal, _Request | None]] = []
    for request in requests:
        if request.handled is not None:
            charge = (request.size - request.lacking) * world.price
            events.append((request.handled, -charge, request))
    events += [(share * last, -points, None) for share, points in world.foreign]
    events += [(share * last, points, None) for share, points in world.refunds]
    top_ups = sorted((share * last, Decimal(points)) for share, points in world.top_ups)
    events += [(at, points, None) for at, points in top_ups]
    line: list[tuple[float, Decimal]] = []
    balance = Decimal(OPENING)
    for at, change, request in sorted(events, key=lambda event: event[0]):
        balance += change
        line.append((at, balance))
        if request is not None and random.random() >= world.no_remaining:
            request.remaining = balance
    end, reads = _reads(world, random, line, top_ups, last)
    return History(world=world, requests=tuple(requests), reads=tuple(reads), end=end)


def _requests(world: World, random: Random) -> list[_Request]:
    free = [(-0.001 * worker + 1.0, worker) for worker in range(world.workers)]
    heapify(free)
    requests = []
    for number in range(1, world.batches + 1):
        sent, worker = heappop(free)
        request = _request(world, random, number, sent)
        requests.append(request)
        heappush(free, (request.ended + random.uniform(0.0001, 0.0001 + world.pause), worker))
    return requests


def _request(world: World, random: Random, number: int, sent: float) -> _Request:
    size = world.most
    if world.sizes == "cycle":
        size -= number % world.different
    elif world.sizes == "random":
        size -= random.randrange(world.different)
    latency = random.uniform(*world.latency)
    handled: float | None = sent + latency * random.uniform(0.2, 0.9)
    is_lost, is_late = random.random() < world.lost, False
    ended = sent + latency
    if is_lost:
        is_late = random.random() < world.timeouts
        if is_late:
            ended = sent + world.timeout_s
            if random.random() < world.late:
                handled = ended + random.uniform(0, 0.95) * world.policy.min_age_s
        if random.random() < 0.5:
            handled = None
    lacking = 0
    if random.random() < world.short:
        lacking = min(random.randint(1, world.most_short), size - 1)
    return _Request(
        key=AttemptKey(batch_id=number, number=1),
        size=size,
        sent=sent,
        ended=ended,
        handled=handled,
        is_lost=is_lost,
        is_late=is_late,
        lacking=lacking,
    )


def _reads(
    world: World,
    random: Random,
    line: list[tuple[float, Decimal]],
    top_ups: list[tuple[float, Decimal]],
    last: float,
) -> tuple[float, list[BalanceRead]]:
    """An opening, readings on the way, and at the end quiet ones before and after every doubt's patience."""
    settle, patience = world.policy.balance_settle_s, world.policy.min_age_s
    times = [0.0]
    if world.read_every_s:
        times += [n * world.read_every_s for n in range(1, int(last / world.read_every_s) + 1)]
    if world.closes:
        first, second = last + 0.5, last + patience + 0.5
        times += [first, first + settle + 0.1, second + settle + 0.2, second + 2 * settle + 0.3]
    reads = []
    for at in sorted(times):
        shown = at + 0.005 - random.uniform(0, world.lag_s)
        remaining = next((balance for when, balance in reversed(line) if when <= shown), Decimal(OPENING))
        bought = sum((points for when, points in top_ups if when <= shown), Decimal(0))
        reads.append(
            BalanceRead(
                asked_at=moment(at),
                answered_at=moment(at + 0.01),
                remaining=remaining,
                send_total=OPENING + bought if world.tells_bought else None,
            )
        )
    return max(times[-1] if world.closes else last, last) + 1, reads
