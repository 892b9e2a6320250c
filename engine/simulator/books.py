"""The truth: what was really accepted, charged and asked for, whatever the answers said.

One entry per request and one counter update per batch, so that a run of a million numbers stays cheap.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import takewhile

TEXTS_KEPT = 1000


@dataclass(slots=True, kw_only=True)
class SendRecord:
    """One send request. Changes while it is handled: a hanging one may be taken long after it arrived.

    `result` is a word: "open" (nothing decided yet), "accepted", the name of the fault that struck, the name of the
    refusal as among the faults ("faild_balance"), "too_many" or "rate_limited". Whether numbers were accepted is said by
    `taken` alone.
    """

    at: float  # Unix time of arrival
    mono: float  # the same on the monotonic clock
    numbers: int = 0  # as given in the request
    result: str = "open"
    taken: int = 0  # numbers accepted
    charge: int = 0
    task_id: int | None = None
    content: str | None = None  # hash of the text

    def as_json(self) -> dict[str, object]:
        """For the truth page."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One accepted request, kept for its reports. `at` is Unix time."""

    task_id: int
    at: float
    numbers: list[str]
    charge: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One delivery report that is due. Whether it was delivered is drawn when it is read."""

    task: Task
    mobile: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Uplink:
    """A text from a person. `at` is Unix time."""

    mobile: str
    content: str
    task_id: int | None
    at: float


@dataclass(slots=True, kw_only=True)
class Books:
    """Counts and remembers. opening + top_ups - charges - foreign = balance, always."""

    opening: int
    next_task_id: int
    window_s: float = 1.0  # of the peaks
    balance: int = field(init=False)
    charges: int = 0
    top_ups: int = 0
    foreign: int = 0
    mobiles: Counter[str] = field(default_factory=Counter)
    doubled: set[str] = field(default_factory=set)
    accepted: int = 0
    sends: list[SendRecord] = field(default_factory=list)
    calls: Counter[str] = field(default_factory=Counter)
    texts: dict[str, str] = field(default_factory=dict)
    peak_requests: int = 0
    peak_numbers: int = 0
    tasks: list[Task] = field(default_factory=list)
    uplinks: deque[Uplink] = field(default_factory=deque)
    repeats: deque[Report] = field(default_factory=deque)
    _unread_task: int = 0  # the first task with unread reports, and how many of its numbers were read
    _unread_number: int = 0
    _window: deque[SendRecord] = field(default_factory=deque)
    _window_numbers: int = 0

    def __post_init__(self) -> None:
        self.balance = self.opening

    def arrive(self, record: SendRecord) -> None:
        """Note a send request, with its numbers, and the most that any window has seen."""
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
        if len(self.texts) < TEXTS_KEPT:
            self.texts.setdefault(digest, content)
        return digest

    def take(self, record: SendRecord, numbers: list[str], charge: int, now: float) -> Task:
        """Accept the numbers: count, charge, give a task id. The one place where points are charged."""
        task = Task(task_id=self.next_task_id, at=now, numbers=numbers, charge=charge)
        self.next_task_id += 1
        known = len(self.mobiles)
        self.mobiles.update(numbers)
        if len(self.mobiles) - known != len(numbers):  # only then can there be doubles, and only then is each looked at
            self.doubled.update(number for number in numbers if self.mobiles[number] > 1)
        self.accepted += len(numbers)
        self.charges += charge
        self.balance -= charge
        self.tasks.append(task)
        record.taken, record.charge, record.task_id = len(numbers), charge, task.task_id
        return task

    def balance_at(self, moment: float) -> int:
        """The balance without the charges after a Unix time."""
        recent = takewhile(lambda task: task.at > moment, reversed(self.tasks))
        return self.balance + sum(task.charge for task in recent)

    def top_up(self, points: int) -> None:
        """Somebody paid."""
        self.top_ups += points
        self.balance += points

    def spend(self, points: int) -> None:
        """Somebody else sent from this account."""
        self.foreign += points
        self.balance -= points

    def last_task_of(self, mobile: str) -> int | None:
        """The task in which a number was accepted last. Slow: reads everything."""
        return next((task.task_id for task in reversed(self.tasks) if mobile in task.numbers), None)

    def read_reports(self, most: int, before: float) -> list[Report]:
        """Take up to `most` reports of tasks accepted before a Unix time out of the queue. They come once."""
        found: list[Report] = []
        while self._unread_task < len(self.tasks) and len(found) < most:
            task = self.tasks[self._unread_task]
            if task.at > before:
                break
            start = self._unread_number
            numbers = task.numbers[start : start + most - len(found)]
            found.extend(Report(task=task, mobile=mobile) for mobile in numbers)
            self._unread_number = start + len(numbers)
            if self._unread_number == len(task.numbers):
                self._unread_task, self._unread_number = self._unread_task + 1, 0
        return found

    def read_repeats(self, most: int) -> list[Report]:
        """Take up to `most` of the reports that come a second time."""
        return [self.repeats.popleft() for _ in range(min(most, len(self.repeats)))]

    def truth(self, *, detail: bool = True) -> dict[str, object]:
        """Everything as JSON. Without detail it costs nothing, however much was sent."""
        summary: dict[str, object] = {
            "schema": 1,
            "requests": len(self.sends),
            "accepted_numbers": self.accepted,
            "distinct_mobiles": len(self.mobiles),
            "twice": len(self.doubled),
            "charges": self.charges,
            "balance": self.balance,
            "opening": self.opening,
            "top_ups": self.top_ups,
            "foreign": self.foreign,
            "calls": dict(self.calls),
            "peak_requests": self.peak_requests,
            "peak_numbers": self.peak_numbers,
        }
        if detail:
            summary["sends"] = [record.as_json() for record in self.sends]
            summary["mobiles"] = dict(self.mobiles)
            summary["texts"] = dict(self.texts)
        return summary
