"""Delivery reports: what becomes of an accepted number, and the queue out of which each report is read once."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush
from itertools import islice

from engine.simulator.faults import chance
from engine.simulator.settings import SimulatorSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One accepted request, kept for its reports."""

    task_id: int
    at: float  # Unix time
    clock_at: float  # the same on the gateway's own clock
    numbers: list[str]
    charge: int
    send_at: float | None = (
        None  # when it is to be sent, on the gateway's own clock; None, or a time that is over: at once
    )

    @property
    def sent_at(self) -> float:
        """When its messages go to the phones, on the gateway's own clock."""
        return self.clock_at if self.send_at is None else max(self.clock_at, self.send_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One delivery report. Whether the number was reached is a matter of the seed."""

    task_id: int | str
    mobile: str
    received: float  # on the gateway's own clock
    interim: bool = False
    again: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Fates:
    """What becomes of each number: pure functions of the seed and the number, the same in every task."""

    settings: SimulatorSettings

    @property
    def are_plain(self) -> bool:
        """Everybody has one report, at its time."""
        settings = self.settings
        return not (settings.unreported or settings.interim or settings.late or settings.reordered)

    def is_delivered(self, mobile: str) -> bool:
        """Status 10, not 20."""
        return not self._strikes(self.settings.undelivered, "undelivered", mobile)

    def is_unreported(self, mobile: str) -> bool:
        """Accepted, and never heard of again."""
        return self._strikes(self.settings.unreported, "unreported", mobile)

    def has_interim(self, mobile: str) -> bool:
        """Its final report comes second."""
        return self._strikes(self.settings.interim, "interim", mobile)

    def is_passed_over(self, mobile: str) -> bool:
        """The poll that could have its report has not."""
        return self._strikes(self.settings.reordered, "reordered", mobile)

    def is_told_twice(self, mobile: str) -> bool:
        """Its report comes again."""
        return self._strikes(self.settings.repeated, "repeated", mobile)

    def has_words(self, mobile: str) -> bool:
        """Its status is a word, not a number."""
        return self._strikes(self.settings.status_words, "status_words", mobile)

    def delay_s(self, mobile: str) -> float:
        """From the sending to the final report, on the gateway's own clock."""
        settings = self.settings
        late = self._strikes(settings.late, "late", mobile)
        return settings.report_delay_s + (settings.late_s ** chance(settings.seed, "late_s", mobile) if late else 0.0)

    def refund_of(self, task: Task) -> tuple[float, int]:
        """When the last failure of a task is due, on the gateway's own clock, and the points that come back then."""
        failed = [mobile for mobile in task.numbers if not (self.is_delivered(mobile) or self.is_unreported(mobile))]
        last_s = max(map(self.delay_s, failed), default=0.0)
        return task.sent_at + last_s, len(failed) * task.charge // len(task.numbers)

    def _strikes(self, share: float, what: str, mobile: str) -> bool:
        return share > 0 and chance(self.settings.seed, what, mobile) < share


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What one poll did to the queue, complete, so that it can be done again from disk."""

    reports: list[Report]
    held: list[Report]  # put back for a later poll
    popped: int  # of those that were put back before
    passed: int  # numbers of the tasks
    unreported: int


@dataclass(slots=True, kw_only=True)
class ReportQueue:
    """Reports in the order of sending, computed when they are read; those out of this order wait by their time."""

    tasks: list[Task] = field(default_factory=list)  # in the order of acceptance
    read: int = 0  # records that polls took, lost answers included
    lost: int = 0  # those whose answer was lost
    unreported: int = 0
    planted: int = 0
    _passed: int = 0
    _numbers: int = 0
    _by_time: list[Task] = field(default_factory=list)  # in the order of sending
    _task: int = 0  # the first of these with unread reports, and how many of its numbers were read
    _number: int = 0
    _later: list[tuple[float, int, Report]] = field(default_factory=list)  # a heap
    _put: int = 0

    def add(self, task: Task) -> None:
        """The numbers of a task will be reported."""
        self.tasks.append(task)
        self._numbers += len(task.numbers)
        begun = self._task + (self._number > 0)  # what a poll has begun to read stays where it is
        insort(self._by_time, task, lo=begun, key=_sent_at)

    def plant(self, reports: Iterable[Report]) -> None:
        """Reports of what was sent before anybody looked."""
        for report in reports:
            self._put_back(report)
            self.planted += 1

    def unsent(self, now: float) -> int:
        """Numbers whose messages are still to be sent at a time of the gateway's own clock."""
        first = bisect_right(self._by_time, now, lo=self._task, key=_sent_at)
        return sum(len(task.numbers) for task in self._by_time[first:])

    def unread(self) -> int:
        """Records that polls can still have."""
        return self._numbers - self._passed + len(self._later)

    def take(self, most: int, now: float, fates: Fates) -> Reading:
        """Take up to `most` records that are due at a time of the gateway's own clock out of the queue."""
        popped: list[Report] = []
        while self._later and self._later[0][0] <= now and len(popped) < most:
            popped.append(heappop(self._later)[2])
        fresh = self._look(most - len(popped), now, fates)
        reports = popped + fresh.reports
        told = [report for report in reports if not (report.again or report.interim)] if fates.settings.repeated else []
        again = [replace(report, again=True) for report in told if fates.is_told_twice(report.mobile)]
        reading = replace(fresh, reports=reports, popped=len(popped), held=fresh.held + again)
        self._settle(reading)
        return reading

    def take_again(self, reading: Reading) -> None:
        """Do what a reading did before the restart."""
        for _ in range(reading.popped):
            heappop(self._later)
        self._settle(reading)

    def _settle(self, reading: Reading) -> None:
        self._advance(reading.passed)
        for report in reading.held:
            self._put_back(report)
        self.unreported += reading.unreported

    def _look(self, most: int, now: float, fates: Fates) -> Reading:
        """What the tasks have for a poll. Takes nothing."""
        delay_s = fates.settings.report_delay_s
        if fates.are_plain:
            reports = [
                Report(task_id=task.task_id, mobile=mobile, received=task.sent_at + delay_s)
                for task, mobile in islice(self._due(now - delay_s), most)
            ]
            return Reading(reports=reports, held=[], popped=0, passed=len(reports), unreported=0)
        reports = []
        held: list[Report] = []
        passed = unreported = 0
        for task, mobile in self._due(now - delay_s):
            if len(reports) >= most:
                break
            passed += 1
            if fates.is_unreported(mobile):
                unreported += 1
                continue
            due = task.sent_at + fates.delay_s(mobile)
            final = Report(task_id=task.task_id, mobile=mobile, received=due)
            if fates.has_interim(mobile):
                reports.append(replace(final, received=task.sent_at + delay_s, interim=True))
                held.append(final)
            elif due > now or fates.is_passed_over(mobile):
                held.append(final)
            else:
                reports.append(final)
        return Reading(reports=reports, held=held, popped=0, passed=passed, unreported=unreported)

    def _due(self, before: float) -> Iterator[tuple[Task, str]]:
        """The unread numbers of the tasks sent before a time of the gateway's own clock."""
        start = self._number
        for place in range(self._task, len(self._by_time)):
            task = self._by_time[place]
            if task.sent_at > before:
                return
            for number in range(start, len(task.numbers)):
                yield task, task.numbers[number]
            start = 0

    def _advance(self, passed: int) -> None:
        self._passed += passed
        self._number += passed
        while self._task < len(self._by_time) and self._number >= len(self._by_time[self._task].numbers):
            self._number -= len(self._by_time[self._task].numbers)
            self._task += 1

    def _put_back(self, report: Report) -> None:
        self._put += 1
        heappush(self._later, (report.received, self._put, report))


def _sent_at(task: Task) -> float:
    return task.sent_at
