"""The truth: what was really accepted, charged and asked for, whatever the answers said.

One entry per request and one counter update per batch, so that a run of a million numbers stays cheap.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import asdict, astuple, dataclass, field
from enum import StrEnum
from hashlib import sha256
from itertools import takewhile

from engine.simulator.reports import Fates, Reading, Report, ReportQueue, Task
from engine.simulator.state import Event

TEXTS_KEPT = 1000


@dataclass(slots=True, kw_only=True)
class SendRecord:
    """One send request. Changes while it is handled: a hanging one may be taken long after it arrived.

    `result` is a word: "open" (nothing decided yet), "accepted", the name of the fault that struck, the name of the
    refusal as among the faults ("faild_balance"), "too_many" or "rate_limited". Whether numbers were accepted is said by
    `taken` alone.
    """

    ordinal: int  # of the send requests, from 1
    at: float  # Unix time of arrival
    mono: float  # the same on the monotonic clock
    numbers: int = 0  # as given in the request
    first: str = ""  # the first good one
    result: str = "open"
    taken: int = 0  # numbers accepted
    taken_at: float | None = None  # Unix time
    charge: int = 0
    task_id: int | None = None
    content: str | None = None  # hash of the text
    send_at: float | None = None  # Unix time at which it is to be sent, by the gateway's own clock; None: at once

    def as_json(self) -> dict[str, object]:
        """For the truth page."""
        return {name: getattr(self, name) for name in self.__slots__}


class Move(StrEnum):
    """Why the balance changed, where it was no send of ours."""

    TOP_UP = "top_up"  # somebody paid
    FOREIGN = "foreign"  # somebody else sent from this account
    REFUND = "refund"  # points of undelivered numbers came back


@dataclass(frozen=True, slots=True, kw_only=True)
class Movement:
    """One change of the balance that was no charge. `points` is negative where they went away."""

    at: float  # Unix time
    kind: Move
    points: int
    task_id: int | None = None  # of a refund


@dataclass(frozen=True, slots=True, kw_only=True)
class Uplink:
    """A text from a person. `at` is the time on the gateway's own clock."""

    mobile: str
    content: str
    task_id: int | None
    at: float


@dataclass(slots=True, kw_only=True)
class Books:
    """Counts and remembers. opening + top_ups + refunds - charges - foreign = balance, always.

    Every change is handed to `log` before its method returns. `happen_again` does the same change without being told.
    """

    opening: int
    next_task_id: int
    window_s: float = 1.0  # of the peaks
    log: Callable[[Event], None] | None = None
    balance: int = field(init=False)
    charges: int = 0
    moved: Counter[Move] = field(default_factory=Counter)  # points without their sign
    movements: list[Movement] = field(default_factory=list)
    mobiles: Counter[str] = field(default_factory=Counter)
    doubled: set[str] = field(default_factory=set)
    accepted: int = 0
    sends: list[SendRecord] = field(default_factory=list)
    calls: Counter[str] = field(default_factory=Counter)
    texts: dict[str, str] = field(default_factory=dict)
    peak_requests: int = 0
    peak_numbers: int = 0
    reports: ReportQueue = field(default_factory=ReportQueue)
    uplinks: deque[Uplink] = field(default_factory=deque)
    uplinks_read: int = 0
    uplinks_lost: int = 0
    _window: deque[SendRecord] = field(default_factory=deque)
    _window_numbers: int = 0

    def __post_init__(self) -> None:
        self.balance = self.opening

    @property
    def tasks(self) -> list[Task]:
        """The accepted requests in the order of acceptance."""
        return self.reports.tasks

    # -- sends ---------------------------------------------------------------------------------------------------

    def arrive(self, record: SendRecord) -> None:
        """Note a send request, with its numbers, and the most that any window has seen. `keep` must follow."""
        self.sends.append(record)
        self._window.append(record)
        self._window_numbers += record.numbers
        while self._window[0].mono <= record.mono - self.window_s:
            self._window_numbers -= self._window.popleft().numbers
        self.peak_requests = max(self.peak_requests, len(self._window))
        self.peak_numbers = max(self.peak_numbers, self._window_numbers)

    def remember_text(self, content: str) -> str:
        """The hash of a text. The first thousand texts are kept whole."""
        digest = sha256(content.encode()).hexdigest()[:16]
        if len(self.texts) < TEXTS_KEPT and digest not in self.texts:
            self.texts[digest] = content
            self._tell("text", content=content)
        return digest

    def take(self, record: SendRecord, task: Task) -> None:
        """Accept the numbers of a task: count and charge. The one place where points are charged. `keep` must follow."""
        numbers, charge = task.numbers, task.charge
        self.next_task_id = task.task_id + 1
        known = len(self.mobiles)
        self.mobiles.update(numbers)
        if len(self.mobiles) - known != len(numbers):  # only then can there be doubles, and only then is each looked at
            self.doubled.update(number for number in numbers if self.mobiles[number] > 1)
        self.accepted += len(numbers)
        self.charges += charge
        self.balance -= charge
        self.reports.add(task)
        record.taken, record.taken_at = len(numbers), task.at
        record.charge, record.task_id, record.send_at = charge, task.task_id, task.send_at

    def keep(self, record: SendRecord) -> None:
        """What a send request came to is final, or it is open and will be kept again."""
        if self.log is None:
            return
        taken = {"clock_at": self.tasks[-1].clock_at, "mobiles": self.tasks[-1].numbers} if record.taken else {}
        self._tell("send", record=record.as_json(), **taken)

    # -- points --------------------------------------------------------------------------------------------------

    def move(self, movement: Movement) -> None:
        """The balance changes without a send."""
        self.balance += movement.points
        self.moved[movement.kind] += abs(movement.points)
        self.movements.append(movement)
        self._tell("move", **asdict(movement))

    def balance_at(self, moment: float) -> int:
        """The balance as it was at a Unix time."""
        if all(not line or line[0].at > moment for line in (self.tasks, self.movements)):
            return self.opening
        charges = sum(task.charge for task in takewhile(lambda task: task.at > moment, reversed(self.tasks)))
        moves = sum(move.points for move in takewhile(lambda move: move.at > moment, reversed(self.movements)))
        return self.balance + charges - moves

    # -- reads ---------------------------------------------------------------------------------------------------

    def call(self, name: str) -> None:
        """Count a call that is no send."""
        self.calls[name] += 1
        self._tell("call", name=name)

    def last_task_of(self, mobile: str) -> int | None:
        """The task in which a number was accepted last. Slow: reads everything."""
        return next((task.task_id for task in reversed(self.tasks) if mobile in task.numbers), None)

    def told(self, mobile: str) -> list[str | None]:
        """The texts that a number was sent, in their order; None for one that was not kept. Slow: reads everything."""
        content_of = {record.task_id: record.content for record in self.sends if record.taken}
        tasks = (task.task_id for task in self.tasks if mobile in task.numbers)
        return [self.texts.get(content_of.get(task) or "") for task in tasks]

    def plant_reports(self, reports: Iterable[Report]) -> None:
        """Reports of what was sent before anybody looked wait in the queue."""
        planted = list(reports)
        self.reports.plant(planted)
        self._tell("plant_reports", reports=[astuple(report) for report in planted])

    def read_reports(self, most: int, now: float, fates: Fates, *, lost: bool) -> list[Report]:
        """Take up to `most` reports out of the queue. They come once, even if the answer is `lost`."""
        reading = self.reports.take(most, now, fates)
        self._count_reports(len(reading.reports), lost)
        if self.log is not None:
            held = [astuple(report) for report in reading.held]
            steps = {"popped": reading.popped, "passed": reading.passed, "unreported": reading.unreported}
            self._tell("read_reports", read=len(reading.reports), lost=lost, held=held, **steps)
        return reading.reports

    def plant_uplink(self, uplink: Uplink) -> None:
        """A text of a person waits in the queue."""
        self.uplinks.append(uplink)
        self._tell("plant_uplink", **asdict(uplink))

    def read_uplinks(self, *, lost: bool) -> list[Uplink]:
        """Take all uplinks out of the queue. They come once, even if the answer is `lost`."""
        uplinks = list(self.uplinks)
        self.uplinks.clear()
        self.uplinks_read += len(uplinks)
        self.uplinks_lost += len(uplinks) if lost else 0
        self._tell("read_uplinks", lost=lost)
        return uplinks

    def _count_reports(self, read: int, lost: bool) -> None:
        self.reports.read += read
        self.reports.lost += read if lost else 0

    # -- the truth, and how it survives --------------------------------------------------------------------------

    def truth(self, *, detail: bool = True, now: float | None = None) -> dict[str, object]:
        """Everything as JSON, at a time of the gateway's own clock. Without detail it costs next to nothing.

        `scheduled`: numbers accepted whose time to be sent has not come.
        """
        reports = self.reports
        summary: dict[str, object] = {
            "schema": 1,
            "requests": len(self.sends),
            "accepted_numbers": self.accepted,
            "distinct_mobiles": len(self.mobiles),
            "twice": len(self.doubled),
            "scheduled": 0 if now is None else reports.unsent(now),
            "charges": self.charges,
            "balance": self.balance,
            "opening": self.opening,
            "top_ups": self.moved[Move.TOP_UP],
            "foreign": self.moved[Move.FOREIGN],
            "refunds": self.moved[Move.REFUND],
            "calls": dict(self.calls),
            "reports": {
                "unread": reports.unread(),
                "read": reports.read,
                "lost": reports.lost,
                "unreported": reports.unreported,
                "planted": reports.planted,
            },
            "uplinks": {"unread": len(self.uplinks), "read": self.uplinks_read, "lost": self.uplinks_lost},
            "peak_requests": self.peak_requests,
            "peak_numbers": self.peak_numbers,
        }
        if detail:
            summary["sends"] = [record.as_json() for record in self.sends]
            summary["movements"] = [asdict(movement) for movement in self.movements]
            summary["mobiles"] = dict(self.mobiles)
            summary["texts"] = dict(self.texts)
        return summary

    def _tell(self, what: str, **more: object) -> None:
        if self.log is not None:
            self.log({"e": what, **more})

    def happen_again(self, event: Event) -> None:
        """Do what was logged. Events of others are passed over."""
        match event.pop("e"):
            case "send":
                self._send_again(**event)
            case "text":
                self.remember_text(event["content"])
            case "move":
                self.move(Movement(**{**event, "kind": Move(event["kind"])}))
            case "call":
                self.call(event["name"])
            case "plant_reports":
                self.reports.plant(map(_report, event["reports"]))
            case "read_reports":
                self._count_reports(event.pop("read"), event.pop("lost"))
                self.reports.take_again(Reading(**{**event, "reports": [], "held": list(map(_report, event["held"]))}))
            case "plant_uplink":
                self.plant_uplink(Uplink(**event))
            case "read_uplinks":
                self.read_uplinks(lost=event["lost"])

    def _send_again(self, record: Event, clock_at: float = 0.0, mobiles: list[str] | None = None) -> None:
        told = SendRecord(**record)
        if told.ordinal > len(self.sends):
            self.arrive(told)
        else:
            self.sends[told.ordinal - 1] = told  # it was kept open before
        if mobiles and told.task_id is not None and told.taken_at is not None:
            task = Task(
                task_id=told.task_id,
                at=told.taken_at,
                clock_at=clock_at,
                numbers=mobiles,
                charge=told.charge,
                send_at=told.send_at,
            )
            self.take(told, task)


def _report(fields: list[object]) -> Report:
    """A report as it was written."""
    return Report(**dict(zip(Report.__slots__, fields, strict=True)))  # type: ignore[arg-type]  # we wrote them
