"""The five calls of the protocol: decides what a request comes to and writes the answer. Knows nothing of sockets.

Source: gateway/protocol.md.
"""

from __future__ import annotations

import math
import re
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta, timezone
from hashlib import md5

from engine.simulator import replies
from engine.simulator.books import Books, Move, SendRecord, Uplink
from engine.simulator.clock import OwnClock
from engine.simulator.faults import Drawn, Draws, chance
from engine.simulator.form import split_mobiles
from engine.simulator.points import Points
from engine.simulator.replies import FAILURES, Reply, ReportStatus, Shape
from engine.simulator.reports import Fates, Report, Task
from engine.simulator.settings import Fault, RateAnswer, SimulatorSettings, TimeFormat
from engine.simulator.state import Event

CHINA = timezone(timedelta(hours=8))
REPORTS_PER_POLL = 4000
WHOLE_NUMBER = re.compile(r"[0-9]{1,9}")

Parameters = dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """What one path of the gateway does and how it writes."""

    call: str  # "sms", "reports" or "uplinks"
    signed: bool = False  # userid + timestamp + sign in place of account + password
    charset: str = "utf-8"
    shape: Shape = Shape.XML


DOORS = {
    "/sms.aspx": Door(call="sms"),
    "/smsgbk.aspx": Door(call="sms", charset="gbk", shape=Shape.XML_GBK),
    "/smsjson.aspx": Door(call="sms", shape=Shape.JSON_TEXTS),
    "/statusapi.aspx": Door(call="reports"),
    "/callapi.aspx": Door(call="uplinks"),
    "/v2sms.aspx": Door(call="sms", signed=True),
    "/v2smsgbk.aspx": Door(call="sms", signed=True, charset="gbk", shape=Shape.XML_GBK),
    "/v2statusapi.aspx": Door(call="reports", signed=True),
    "/v2callapi.aspx": Door(call="uplinks", signed=True),
}
"""Every path, in lower case: the servers do not care."""

NOT_TAKEN_PAGES = {
    Fault.HTTP_500: replies.SERVER_ERROR,
    Fault.HTTP_503: replies.UNAVAILABLE,
    Fault.LOGIN_PAGE: replies.LOGIN_PAGE,
    Fault.REDIRECT: replies.REDIRECT,
}

NO_ANSWER_NOT_TAKEN = (Fault.RESET_BEFORE, Fault.HANG_LOST)
SHORT = (Fault.SHORT_COUNT, Fault.SHORT_AND_DROP)


@dataclass(frozen=True, slots=True, kw_only=True)
class SendPlan:
    """A send request after everything that must happen at its arrival. `reply` is None as long as nothing is decided."""

    record: SendRecord
    parameters: Parameters
    numbers: list[str]  # the good ones
    bad: int
    drawn: Drawn
    door: Door
    late: bool = False  # to be decided after `hang_s`
    reply: Reply | None = None


class Gateway:
    """One account at one vendor: settings, books and draws. Wall and monotonic clock (seconds) are arguments.

    `events` is what happened before a restart; what happens from now on is handed to `log`. Raises ValueError when the
    events are those of another account.
    """

    def __init__(
        self,
        settings: SimulatorSettings,
        *,
        wall: Callable[[], float],
        monotonic: Callable[[], float],
        events: Iterable[Event] = (),
        log: Callable[[Event], None] | None = None,
    ) -> None:
        self.settings = settings
        self.books = Books(
            opening=settings.points, next_task_id=settings.task_id_start, window_s=settings.rate_window_s
        )
        self.draws = Draws(settings.seed, settings.faults)
        self._fates = Fates(settings=settings)
        self._wall, self._monotonic = wall, monotonic
        self._let_through: deque[float] = deque()
        now = wall()
        self._clock = OwnClock(wall=now, own=now, speed=settings.clock_speed)
        known = self._resume(events)
        self.books.log = log
        self.points = Points(self.books, settings, wall=wall, monotonic=monotonic)
        if log is not None and not known:
            log({"e": "opened", **self._account()})
        if log is not None and (not known or self._clock.speed != settings.clock_speed):
            self._run_clock(settings.clock_speed)

    def _resume(self, events: Iterable[Event]) -> bool:
        """Do everything again that happened before. Returns whether anything had."""
        known = False
        for event in events:
            known = True
            match event:
                case {"e": "opened", **account}:
                    if account != self._account():
                        raise ValueError(f"the state is that of {account}, not of {self._account()}")
                case {"e": "clock", **clock}:
                    self._clock = OwnClock(**clock)
                case _:
                    self.books.happen_again(event)
        calls = self.books.calls
        polls = calls["reports"] + calls["uplinks"]
        attempts = Counter(record.first for record in self.books.sends if record.result != "rate_limited")
        self.draws.resume(attempts, reads=calls.total() - polls, polls=polls)
        return known

    def _account(self) -> dict[str, object]:
        settings = self.settings
        return {"seed": settings.seed, "points": settings.points, "task_id_start": settings.task_id_start}

    def change(self, settings: SimulatorSettings) -> None:
        """From the next request on, these settings hold."""
        self.settings = settings
        self.books.window_s = settings.rate_window_s
        self.draws.change(settings.faults)
        self.points.change(settings)
        self._fates = Fates(settings=settings)
        if settings.clock_speed != self._clock.speed:
            self._run_clock(settings.clock_speed)

    def _run_clock(self, speed: float) -> None:
        self._clock = self._clock.running(speed, self._wall())
        if self.books.log is not None:
            self.books.log({"e": "clock", **asdict(self._clock)})

    def truth(self, *, detail: bool) -> dict[str, object]:
        """What really happened."""
        return self.books.truth(detail=detail, now=self._own_now())

    def _own_now(self) -> float:
        return self._clock.at(self._wall())

    # -- send ----------------------------------------------------------------------------------------------------

    def arrive(self, door: Door, parameters: Parameters) -> SendPlan:
        """Note a send request in the books, apply the rate guard and draw its fault. Takes nothing yet.

        A request has arrived when its last byte has.
        """
        at, mono = self._wall(), self._monotonic()
        numbers, bad = split_mobiles(parameters.get("mobile", ""))
        first = numbers[0] if numbers else ""
        record = SendRecord(
            ordinal=len(self.books.sends) + 1, at=at, mono=mono, numbers=len(numbers) + bad, first=first
        )
        self.books.arrive(record)
        if record.ordinal == self.settings.top_up_at_request:
            self.points.top_up(self.settings.top_up_points)
        too_fast = self._too_fast(door, mono)
        if too_fast is not None:
            # Not an attempt: how often somebody knocks too early must not change what is drawn later.
            record.result = "rate_limited"
            drawn = Drawn(fault=None, first=first, attempt=0)
        else:
            drawn = self.draws.send(first)
        late = drawn.fault is Fault.HANG_THEN_ACCEPT_LATE
        late = late or (drawn.fault is Fault.HANG_ACCEPT and self.settings.hang_takes_late)
        if late:
            self.books.keep(record)
        return SendPlan(
            record=record,
            parameters=parameters,
            numbers=numbers,
            bad=bad,
            drawn=drawn,
            door=door,
            late=late,
            reply=too_fast,
        )

    def _too_fast(self, door: Door, mono: float) -> Reply | None:
        """The strict guard: a request is let through if fewer than the limit were in the window that ends with it."""
        settings, through = self.settings, self._let_through
        if not settings.rate_limit:
            return None
        while through and through[0] <= mono - settings.rate_window_s:
            through.popleft()
        if len(through) < settings.rate_limit:
            through.append(mono)
            return None
        if settings.rate_answer == RateAnswer.FAILD:
            return self._written(replies.failure_fields(replies.TOO_FREQUENT), door)
        wait_s = max(1, math.ceil(through[0] + settings.rate_window_s - mono))
        return replies.html_page(429, "Too Many Requests", "<h2>Too Many Requests</h2>", **{"Retry-After": str(wait_s)})

    def decide(self, plan: SendPlan) -> Reply | None:
        """Take the request or refuse it; returns the answer as it is before any fault of the network touches it.

        None where there is no answer to give (and nothing was taken).
        """
        self.points.pass_time(self._own_now())
        reply = self._decided(plan)
        self.books.keep(plan.record)
        return reply

    def _decided(self, plan: SendPlan) -> Reply | None:
        if plan.reply is not None:
            return plan.reply
        fault = plan.drawn.fault
        if fault is not None:
            plan.record.result = fault.value
        if fault in NO_ANSWER_NOT_TAKEN:
            return None
        if fault in NOT_TAKEN_PAGES:
            return NOT_TAKEN_PAGES[fault]
        if fault in FAILURES and fault is not Fault.FAILD_OTHER_TAKEN:
            return self._refusal(plan.door, FAILURES[fault])
        refused = self._check(plan)
        if refused is not None:
            if fault is None:
                plan.record.result = refused[0]
            return self._refusal(plan.door, refused[1])
        return self._take(plan)

    def _take(self, plan: SendPlan) -> Reply:
        record, fault, numbers = plan.record, plan.drawn.fault, plan.numbers
        content = plan.parameters["content"]
        if self.settings.drop_duplicates:
            numbers = list(dict.fromkeys(numbers))
        if fault in SHORT:
            numbers = self.draws.without_some(plan.drawn, numbers)
        record.content = self.books.remember_text(content)
        now = self._wall()
        task = Task(
            task_id=self.books.next_task_id,
            at=now,
            clock_at=self._clock.at(now),
            numbers=numbers,
            charge=len(numbers) * segments(content) * self.settings.price,
            send_at=self._send_time(plan.parameters),
        )
        self.books.take(record, task)
        self.points.promise_refund(task)
        if fault is None:
            record.result = "accepted"
        if fault is Fault.FAILD_OTHER_TAKEN:
            return self._refusal(plan.door, FAILURES[fault])
        task_id: int | str = "" if fault is Fault.NO_TASK_ID else task.task_id
        remaining = self._balance_shown(self.settings.remainpoint_lag_s)
        fields = replies.send_fields(remaining=remaining, task_id=task_id, count=len(numbers))
        return self._written(fields, plan.door)

    def _check(self, plan: SendPlan) -> tuple[str, str] | None:
        """Why a request is refused: a word for the books and the text for the client. None: it can be taken."""
        parameters, settings, count = plan.parameters, self.settings, len(plan.numbers)
        fault = self._login_failure(plan.door, parameters)
        if fault is None and not count:
            fault = Fault.FAILD_NO_MOBILES
        fault = fault or self._content_failure(parameters)
        if fault is None and not (parameters.get("extno", "") or "0").isdecimal():
            fault = Fault.FAILD_EXTNO
        if fault is None and not self._knows_send_time(parameters):
            fault = Fault.FAILD_PARAMETER
        if fault is None and plan.record.numbers > settings.max_recipients:
            return "too_many", replies.TOO_MANY.format(limit=settings.max_recipients)
        if fault is None and settings.prepaid:
            charge = count * segments(parameters["content"]) * settings.price
            fault = Fault.FAILD_BALANCE if charge > self.books.balance else None
        return (fault.value, FAILURES[fault]) if fault else None

    def _send_time(self, parameters: Parameters) -> float | None:
        """Unix time at which a request is to be sent; None: at once. Raises ValueError for what is no time."""
        written, form = parameters.get("sendtime", ""), self.settings.send_time_format
        if not written:
            return None
        at = datetime.strptime(written, form).replace(tzinfo=CHINA)
        if at.strftime(form) != written:
            raise ValueError(f"{written} is not padded")
        return at.timestamp()

    def _knows_send_time(self, parameters: Parameters) -> bool:
        try:
            self._send_time(parameters)
        except ValueError:
            return False
        return True

    def _content_failure(self, parameters: Parameters) -> Fault | None:
        content, settings = parameters.get("content", ""), self.settings
        if not content.strip():
            return Fault.FAILD_NO_CONTENT
        if any(fragment in content for fragment in settings.sql_fragments):
            return Fault.FAILD_SQL
        if settings.require_signature and not ("【" in content and "】" in content):
            return Fault.FAILD_SIGNATURE
        if parameters.get("checkcontent") == "1" and self._is_dirty(content):
            return Fault.FAILD_CONTENT
        return None

    def _refusal(self, door: Door, message: str) -> Reply:
        return self._written(replies.failure_fields(message), door)

    # -- the other calls -----------------------------------------------------------------------------------------

    def answer(self, door: Door, parameters: Parameters) -> Reply | None:
        """Every call but send. None where its answer is lost."""
        action = parameters.get("action", "").lower()
        if door.call != "sms":
            self.books.call(door.call)
            return self._poll(door, parameters, self.draws.poll())
        known = {"overage": self._overage, "checkkeyword": self._checkkeyword}
        self.books.call(action if action in known else "unknown")
        fault = self.draws.read()
        if fault is Fault.LOGIN_PAGE:
            return replies.LOGIN_PAGE
        failure = None if action in known else Fault.FAILD_PARAMETER
        reply = self._refusal(door, FAILURES[failure]) if failure else known[action](door, parameters)
        return None if fault is Fault.DROP_READ else reply

    def _overage(self, door: Door, parameters: Parameters) -> Reply:
        self.points.pass_time(self._own_now())
        failure = self._login_failure(door, parameters)
        if failure:
            return self._refusal(door, FAILURES[failure])
        return self._written(
            replies.overage_fields(
                prepaid=self.settings.prepaid,
                remaining=self._balance_shown(self.settings.balance_lag_s),
                send_total=self.books.opening + self.books.moved[Move.TOP_UP],
            ),
            door,
        )

    def _balance_shown(self, lag_s: float) -> int:
        return self.books.balance_at(self._wall() - lag_s) if lag_s else self.books.balance

    def _checkkeyword(self, door: Door, parameters: Parameters) -> Reply:
        failure = self._login_failure(door, parameters)
        if failure:
            message = FAILURES[failure]
        else:
            message = replies.DIRTY if self._is_dirty(parameters.get("content", "")) else replies.CLEAN
        return self._written({"message": message}, door)

    def _poll(self, door: Door, parameters: Parameters, fault: Fault | None) -> Reply | None:
        if fault is Fault.LOGIN_PAGE:
            return replies.LOGIN_PAGE
        lost, layout = fault is Fault.DROP_POLL, self.settings.layout
        error = self._poll_error(door, parameters)
        if error is not None:
            return None if lost else replies.poll_error(error, layout)
        most = min(int(parameters.get("statusnum") or REPORTS_PER_POLL), REPORTS_PER_POLL)
        records = self._reports(most, lost=lost) if door.call == "reports" else self._uplinks(lost=lost)
        if fault is Fault.ERROR_BESIDE:
            place = self.draws.errors_place()
            error_box = replies.errorstatus(5 if place % 0.5 < 0.25 else 6)
            records = [error_box, *records] if place < 0.5 else [*records, error_box]
        # No JSON form of these two was ever seen, so they are XML at every door.
        return None if lost else replies.xml_reply(records, Shape.XML, layout)

    def _poll_error(self, door: Door, parameters: Parameters) -> int | None:
        failure = self._login_failure(door, parameters)
        if failure:
            return 1 if failure is Fault.FAILD_CREDENTIALS_EMPTY else 2
        if not self.settings.reports_allowed:
            return 3
        most = parameters.get("statusnum") or str(REPORTS_PER_POLL)
        good = parameters.get("action", "").lower() == "query" and WHOLE_NUMBER.fullmatch(most)
        return None if good else 4

    def _reports(self, most: int, *, lost: bool) -> list[str]:
        return [
            self._statusbox(report) for report in self.books.read_reports(most, self._own_now(), self._fates, lost=lost)
        ]

    def _statusbox(self, report: Report) -> str:
        fates, mobile = self._fates, report.mobile
        final = ReportStatus.DELIVERED if fates.is_delivered(mobile) else ReportStatus.FAILED
        return replies.statusbox(
            mobile=mobile,
            task_id=report.task_id,
            status=ReportStatus.INTERIM if report.interim else final,
            word=not report.interim and fates.has_words(mobile),
            received=self._china_time(report.received, mobile),
        )

    def plant_reports(self, mobiles: Iterable[str], *, task_id: int | str | None, age_s: float) -> None:
        """Old reports of another sending wait in the queue. `task_id` None: the one before our first."""
        received = self._own_now() - age_s
        task = self.settings.task_id_start - 1 if task_id is None else task_id
        self.books.plant_reports(Report(task_id=task, mobile=mobile, received=received) for mobile in mobiles)

    def _uplinks(self, *, lost: bool) -> list[str]:
        return [self._callbox(uplink) for uplink in self.books.read_uplinks(lost=lost)]

    def _callbox(self, uplink: Uplink) -> str:
        return replies.callbox(
            mobile=uplink.mobile,
            task_id="" if uplink.task_id is None else uplink.task_id,
            content=uplink.content if self.settings.raw_uplinks else replies.escaped(uplink.content),
            received=self._china_time(uplink.at, uplink.mobile),
        )

    def plant_uplink(self, mobile: str, content: str) -> None:
        """A person replies. It is in the next poll of uplinks, and in no later one."""
        task_id = self.books.last_task_of(mobile)
        self.books.plant_uplink(Uplink(mobile=mobile, content=content, task_id=task_id, at=self._own_now()))

    # -- shared by the calls -------------------------------------------------------------------------------------

    def _login_failure(self, door: Door, parameters: Parameters) -> Fault | None:
        settings = self.settings
        names = ("timestamp", "sign") if door.signed else ("account", "password")
        given = [parameters.get(name, "") for name in names]
        if not all(given):
            return Fault.FAILD_CREDENTIALS_EMPTY
        if settings.userid and parameters.get("userid", "") != settings.userid:
            return Fault.FAILD_CREDENTIALS
        good = self._sign_is_good(*given) if door.signed else self._password_is_good(*given)
        return None if good else Fault.FAILD_CREDENTIALS

    def _password_is_good(self, account: str, password: str) -> bool:
        settings = self.settings
        accepted = (settings.password, _md5_hex(settings.password).upper())
        return account == settings.account and password in accepted

    def _sign_is_good(self, timestamp: str, sign: str) -> bool:
        settings = self.settings
        if sign != _md5_hex(settings.account + settings.password + timestamp):
            return False
        if not settings.sign_tolerance_s:
            return True
        try:
            signed = datetime.strptime(timestamp, "%Y%m%d%H%M%S").replace(tzinfo=CHINA)
        except ValueError:
            return False
        return abs(signed.timestamp() - self._wall()) <= settings.sign_tolerance_s

    def _is_dirty(self, content: str) -> bool:
        return any(word in content for word in self.settings.forbidden)

    def _written(self, fields: replies.Fields, door: Door) -> Reply:
        return replies.fields_reply(fields, door.shape, self.settings.layout)

    def _china_time(self, at: float, mobile: str) -> str:
        time_format = self.settings.time_format
        pick = chance(self.settings.seed, "time_format", mobile) if time_format == TimeFormat.MIXED else 0.0
        return replies.written_time(datetime.fromtimestamp(at, CHINA), time_format, pick)


def in_shape(door: Door, parameters: Parameters) -> Door:
    """The door as this request wants it: `rt=json` turns an XML answer into JSON with numbers."""
    if parameters.get("rt", "").lower() == "json" and door.shape is not Shape.JSON_TEXTS:
        return Door(call=door.call, signed=door.signed, charset=door.charset, shape=Shape.JSON_NUMBERS)
    return door


def segments(content: str) -> int:
    """Parts that are billed: one up to 70 UTF-16 units, else one per started 67."""
    units = len(content.encode("utf-16-le", "surrogatepass")) // 2
    return 1 if units <= 70 else -(-units // 67)


def _md5_hex(text: str) -> str:
    return md5(text.encode(), usedforsecurity=False).hexdigest()
