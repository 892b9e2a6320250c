"""The five calls of the protocol: decides what a request comes to and writes the answer. Knows nothing of sockets.

Source: gateway/protocol.md.
"""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from hashlib import md5

from engine.simulator import replies
from engine.simulator.books import Books, Report, SendRecord, Uplink
from engine.simulator.faults import Drawn, Draws, chance
from engine.simulator.form import split_mobiles
from engine.simulator.replies import FAILURES, Reply, Shape
from engine.simulator.settings import Fault, RateAnswer, SimulatorSettings

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


@dataclass(frozen=True, slots=True, kw_only=True)
class SendPlan:
    """A send request after everything that must happen at its arrival. `reply` is None as long as nothing is decided."""

    record: SendRecord
    parameters: Parameters
    numbers: list[str]  # the good ones
    bad: int
    drawn: Drawn
    door: Door
    reply: Reply | None = None


class Gateway:
    """One account at one vendor: settings, books and draws. Wall and monotonic clock (seconds) are arguments."""

    def __init__(
        self, settings: SimulatorSettings, *, wall: Callable[[], float], monotonic: Callable[[], float]
    ) -> None:
        self.settings = settings
        self.books = Books(
            opening=settings.points, next_task_id=settings.task_id_start, window_s=settings.rate_window_s
        )
        self.draws = Draws(settings.seed, settings.faults)
        self._wall, self._monotonic = wall, monotonic
        self._let_through: deque[float] = deque()

    def change(self, settings: SimulatorSettings) -> None:
        """From the next request on, these settings hold."""
        self.settings = settings
        self.books.window_s = settings.rate_window_s
        self.draws.change(settings.faults)

    # -- send ----------------------------------------------------------------------------------------------------

    def arrive(self, door: Door, parameters: Parameters) -> SendPlan:
        """Note a send request in the books, apply the rate guard and draw its fault. Takes nothing yet.

        A request has arrived when its last byte has.
        """
        at, mono = self._wall(), self._monotonic()
        numbers, bad = split_mobiles(parameters.get("mobile", ""))
        record = SendRecord(at=at, mono=mono, numbers=len(numbers) + bad)
        self.books.arrive(record)
        first = numbers[0] if numbers else ""
        too_fast = self._too_fast(door, mono)
        if too_fast is not None:
            # Not an attempt: how often somebody knocks too early must not change what is drawn later.
            record.result = "rate_limited"
            drawn = Drawn(fault=None, first=first, attempt=0)
        else:
            drawn = self.draws.send(first)
        return SendPlan(
            record=record, parameters=parameters, numbers=numbers, bad=bad, drawn=drawn, door=door, reply=too_fast
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
        if fault is Fault.SHORT_COUNT:
            numbers = self.draws.without_some(plan.drawn, numbers)
        record.content = self.books.remember_text(content)
        charge = len(numbers) * segments(content) * self.settings.price
        task = self.books.take(record, numbers, charge, self._wall())
        if fault is None:
            record.result = "accepted"
        if fault is Fault.FAILD_OTHER_TAKEN:
            return self._refusal(plan.door, FAILURES[fault])
        task_id: int | str = "" if fault is Fault.NO_TASK_ID else task.task_id
        fields = replies.send_fields(remaining=self.books.balance, task_id=task_id, count=len(numbers))
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
        if fault is None and plan.record.numbers > settings.max_recipients:
            return "too_many", replies.TOO_MANY.format(limit=settings.max_recipients)
        if fault is None and settings.prepaid:
            charge = count * segments(parameters["content"]) * settings.price
            fault = Fault.FAILD_BALANCE if charge > self.books.balance else None
        return (fault.value, FAILURES[fault]) if fault else None

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

    def answer(self, door: Door, parameters: Parameters) -> Reply:
        """Every call but send."""
        action = parameters.get("action", "").lower()
        match door.call, action:
            case "sms", "overage":
                return self._overage(door, parameters)
            case "sms", "checkkeyword":
                return self._checkkeyword(door, parameters)
            case "reports", _:
                return self._poll(door, parameters, self._reports)
            case "uplinks", _:
                return self._poll(door, parameters, self._uplinks)
        self.books.calls["unknown"] += 1
        return self._refusal(door, FAILURES[Fault.FAILD_PARAMETER])

    def _overage(self, door: Door, parameters: Parameters) -> Reply:
        self.books.calls["overage"] += 1
        failure = self._login_failure(door, parameters)
        if failure:
            return self._refusal(door, FAILURES[failure])
        return self._written(
            replies.overage_fields(
                prepaid=self.settings.prepaid,
                remaining=self._balance_shown(),
                send_total=self.books.opening + self.books.top_ups,
            ),
            door,
        )

    def _balance_shown(self) -> int:
        lag_s = self.settings.balance_lag_s
        return self.books.balance_at(self._wall() - lag_s) if lag_s else self.books.balance

    def _checkkeyword(self, door: Door, parameters: Parameters) -> Reply:
        self.books.calls["checkkeyword"] += 1
        failure = self._login_failure(door, parameters)
        if failure:
            message = FAILURES[failure]
        else:
            message = replies.DIRTY if self._is_dirty(parameters.get("content", "")) else replies.CLEAN
        return self._written({"message": message}, door)

    def _poll(self, door: Door, parameters: Parameters, read: Callable[[int], list[str]]) -> Reply:
        self.books.calls[door.call] += 1
        layout = self.settings.layout
        failure = self._login_failure(door, parameters)
        if failure:
            return replies.poll_error(1 if failure is Fault.FAILD_CREDENTIALS_EMPTY else 2, layout)
        if not self.settings.reports_allowed:
            return replies.poll_error(3, layout)
        most = parameters.get("statusnum") or str(REPORTS_PER_POLL)
        if parameters.get("action", "").lower() != "query" or not WHOLE_NUMBER.fullmatch(most):
            return replies.poll_error(4, layout)
        # No JSON form of these two was ever seen, so they are XML at every door.
        return replies.xml_reply(read(min(int(most), REPORTS_PER_POLL)), Shape.XML, layout)

    def _reports(self, most: int) -> list[str]:
        settings, books = self.settings, self.books
        repeats = books.read_repeats(most)
        fresh = books.read_reports(most - len(repeats), self._wall() - settings.report_delay_s)
        if settings.repeated:
            books.repeats.extend(report for report in fresh if self._comes_twice(report))
        return [self._statusbox(report) for report in repeats + fresh]

    def _comes_twice(self, report: Report) -> bool:
        return chance(self.settings.seed, "repeated", report.mobile) < self.settings.repeated

    def _statusbox(self, report: Report) -> str:
        settings, task = self.settings, report.task
        return replies.statusbox(
            mobile=report.mobile,
            task_id=task.task_id,
            delivered=chance(settings.seed, "undelivered", report.mobile) >= settings.undelivered,
            received=self._china_time(task.at + settings.report_delay_s),
        )

    def _uplinks(self, _most: int) -> list[str]:
        waiting = [self._callbox(uplink) for uplink in self.books.uplinks]
        self.books.uplinks.clear()
        return waiting

    def _callbox(self, uplink: Uplink) -> str:
        return replies.callbox(
            mobile=uplink.mobile,
            task_id="" if uplink.task_id is None else uplink.task_id,
            content=uplink.content,
            received=self._china_time(uplink.at),
        )

    def plant_uplink(self, mobile: str, content: str) -> None:
        """A person replies. It is in the next poll of uplinks, and in no later one."""
        task_id = self.books.last_task_of(mobile)
        self.books.uplinks.append(Uplink(mobile=mobile, content=content, task_id=task_id, at=self._wall()))

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

    def _china_time(self, at: float) -> str:
        return replies.written_time(datetime.fromtimestamp(at, CHINA), self.settings.time_format)


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
