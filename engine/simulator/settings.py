"""What a simulated gateway is told: its account, its limits and the faults it injects. Nothing here is read from files."""

from __future__ import annotations

import inspect
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum


class Fault(StrEnum):
    """One way in which the gateway or the network misbehaves. When a request draws several, the first of this list strikes.

    "Taken" means: the numbers count as accepted, the points are charged, reports will come. Without "per …" a fault is
    drawn per send request.
    """

    RESET_CONNECT = "reset_connect"  # per connection: RST straight after the accept, before a byte is read
    REFUSE = "refuse"  # this request is answered as usual, then the port refuses every connection for `refuse_s`
    RESET_BEFORE = "reset_before"  # RST, not taken
    HANG_LOST = "hang_lost"  # not taken, and no answer: after `hang_s` the connection ends
    HTTP_500 = "http_500"  # not taken, ASP.NET's error page
    HTTP_503 = "http_503"  # not taken, HTTP 503 with Retry-After, as an application pool that is recycled
    LOGIN_PAGE = "login_page"  # per request of every kind: not taken, not read, HTTP 200 with an HTML page
    REDIRECT = "redirect"  # not taken, HTTP 302 to a login page
    FAILD_CREDENTIALS_EMPTY = "faild_credentials_empty"  # not taken: 用户名或密码不能为空
    FAILD_CREDENTIALS = "faild_credentials"  # not taken: 用户名或密码错误
    FAILD_BALANCE = "faild_balance"  # not taken: 对不起，您当前要发送的量大于您当前余额
    FAILD_NO_MOBILES = "faild_no_mobiles"  # not taken: 短信号码不能为空
    FAILD_NO_CONTENT = "faild_no_content"  # not taken: 短信内容不能为空
    FAILD_CONTENT = "faild_content"  # not taken: 包含非法字符：
    FAILD_SQL = "faild_sql"  # not taken: 发送内容包含sql注入字符
    FAILD_SIGNATURE = "faild_signature"  # not taken: 短信必须带【】格式签名
    FAILD_EXTNO = "faild_extno"  # not taken: 扩展子号只能是数字
    FAILD_PARAMETER = "faild_parameter"  # not taken: 参数错误
    FAILD_OPERATION = "faild_operation"  # not taken: 操作失败
    FAILD_OTHER = "faild_other"  # not taken: 其他错误
    FAILD_UNKNOWN = "faild_unknown"  # not taken: a text that no document has
    FAILD_OTHER_TAKEN = "faild_other_taken"  # taken, and yet: 其他错误 with task id 0 and count 0
    DROP_ANSWER = "drop_answer"  # taken, then RST instead of an answer
    SHORT_AND_DROP = "short_and_drop"  # as short_count, then RST: nobody is told that 1 to 5 numbers were not taken
    HANG_ACCEPT = "hang_accept"  # taken (when: `hang_takes_late`), the answer comes after `hang_s`
    HANG_THEN_ACCEPT_LATE = "hang_then_accept_late"  # nothing for `hang_s`; then taken, even if the client has gone
    HTTP_403_TAKEN = "http_403_taken"  # taken, HTTP 403 with an HTML page
    HTTP_500_TAKEN = "http_500_taken"  # taken, ASP.NET's error page
    HALF_ANSWER = "half_answer"  # taken, Content-Length of the whole answer, half of it, FIN
    HALF_ANSWER_SHORT = "half_answer_short"  # taken, half of the answer with the Content-Length of the half
    EMPTY_ANSWER = "empty_answer"  # taken, HTTP 200 without a body
    NO_TASK_ID = "no_task_id"  # taken, Success with an empty taskID
    SHORT_COUNT = "short_count"  # 1 to 5 numbers are neither taken nor charged; successCounts says so; never all
    DROP_READ = "drop_read"  # per overage or checkkeyword: RST instead of an answer
    DROP_POLL = "drop_poll"  # per poll: the records are gone from the queue, RST instead of an answer
    ERROR_BESIDE = "error_beside"  # per poll: an errorstatus, 5 or 6, stands before or after the records in the answer


class Layout(StrEnum):
    """How an XML answer is laid out. All of them were seen, or are worked around by clients that were."""

    SAMPLE = "sample"  # the pasted real replies: CRLF and one space before each child, root closed on the last line
    LF = "lf"  # the same with a bare LF
    ONE_LINE = "one_line"  # no white space at all
    INDENTED = "indented"  # every element on its own line, with a line break at the end
    LEADING_CRLF = "leading_crlf"  # an empty line before the declaration: an error to a strict parser
    BOM = "bom"  # a UTF-8 byte order mark first


class TimeFormat(StrEnum):
    """How `receivetime` is written, always in China time."""

    PADDED = "padded"  # 2011-12-02 22:12:11
    UNPADDED = "unpadded"  # 2013-9-17 17:38:08
    SLASHES = "slashes"  # 2016/1/26 11:02:08
    MIXED = "mixed"  # each record in one of the three


class RateAnswer(StrEnum):
    """What a request above the rate limit is told. It is never taken."""

    HTTP_429 = "http_429"  # HTTP 429 with Retry-After in whole seconds
    FAILD = "faild"  # an application answer: Faild with a "too frequent" text


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatorSettings:
    """One simulated gateway with one account. Raises ValueError for what cannot be. Times in seconds, money in points."""

    host: str = "127.0.0.1"  # a literal loopback address; anything else is an error
    port: int = 0  # 0: any free port
    seed: int = 0  # the same seed draws the same faults
    userid: str = "12"  # empty: not checked
    account: str = "demo"  # its name at login
    password: str = field(default="demo", repr=False)  # its password; "demo" unless it is given
    sign_tolerance_s: float = 300.0  # how old or early a signed timestamp may be; 0: not checked

    points: int = 10_000_000  # the opening balance
    balance_lag_s: float = 0.0  # overage shows the balance of so many seconds ago
    remainpoint_lag_s: float = 0.0  # so does remainpoint; very long, and it is the opening balance for ever
    prepaid: bool = True  # False: never refused for the balance, which may fall below zero
    price: int = 1  # points per segment and number
    refunds: bool = False  # undelivered numbers give their points back, per request, when its last failure is due
    foreign_per_s: float = 0.0  # points that others spend from this account, 1 to 9 at a time at moments by seed
    top_up_at_request: int = 0  # somebody pays just before this send request, counted from 1; 0: nobody does
    top_up_points: int = 10_000  # so much

    latency_s: float = 0.0  # every answer waits this long; a send is taken when it arrives, not when it is answered
    jitter_s: float = 0.0  # and up to this much longer
    keepalive_s: float = 120.0  # how long a connection without requests stays open
    max_body_bytes: int = 4 * 1024 * 1024  # ASP.NET's default; more is HTTP 413

    rate_limit: int = 0  # send requests let through in any window of `rate_window_s`; 0: no limit
    rate_window_s: float = 1.0  # how long that window is
    rate_answer: RateAnswer = RateAnswer.HTTP_429  # what a request above the limit is told
    send_time_format: str = "%Y-%m-%d %H:%M:%S"  # of sendTime, in China time; another form is a Faild
    max_recipients: int = 1000  # numbers per request; more is a Faild
    drop_duplicates: bool = (
        False  # True: a number twice in one request counts once; False: it is taken and charged twice
    )
    require_signature: bool = False  # texts without 【】 are refused
    forbidden: tuple[str, ...] = ()  # texts with one of these are refused, and checkkeyword finds them
    sql_fragments: tuple[str, ...] = ()  # texts with one of these are refused as SQL injection

    faults: Mapping[str, float] = field(default_factory=dict)  # Fault -> probability
    hang_s: float = 35.0  # how long a fault that hangs lasts
    hang_takes_late: bool = False  # hang_accept takes at the end of `hang_s`, not at the start
    refuse_s: float = 1.0  # how long the port refuses after a refuse

    layout: Layout = Layout.SAMPLE  # how XML answers are laid out
    task_id_start: int = 93_390_617  # the first task id
    clock_speed: float = 1.0  # how fast the gateway's own clock runs, the one of reports and their receivetimes
    report_delay_s: float = 2.0  # from the acceptance to the report, on the gateway's own clock
    undelivered: float = 0.05  # share of the numbers that end with status 20
    unreported: float = 0.0  # share of the numbers that never have a report
    interim: float = 0.0  # share of the numbers with a 20 ACCEPTD first; the final report is in a later poll
    late: float = 0.0  # share of the reports that take longer, from a second to `late_s`, each order of magnitude alike
    late_s: float = 259_200.0  # the longest that a late report takes
    reordered: float = 0.0  # share of the reports that a poll passes over once, so that younger ones come first
    repeated: float = 0.0  # share of the reports that come a second time, in a later poll
    status_words: float = 0.0  # share of the reports with DELIVRD or UNDELIV in place of 10 or 20
    reports_allowed: bool = True  # False: the account may not read reports
    time_format: TimeFormat = TimeFormat.PADDED  # of receivetime
    raw_uplinks: bool = False  # texts of persons stand in the XML as they are: & and < break it

    state: str = ""  # file that keeps the truth, not changed settings, through a kill; empty: it ends with the process

    def __post_init__(self) -> None:
        check_loopback(self.host)
        for name, share in self.faults.items():
            Fault(name)
            _check_share(f"fault {name}", share)
        for name in SHARES:
            _check_share(name, getattr(self, name))
        if self.rate_limit < 0 or self.rate_window_s <= 0:
            raise ValueError(f"rate limit {self.rate_limit} per {self.rate_window_s} s is no limit")
        if self.clock_speed <= 0 or self.late_s < 1:
            raise ValueError(
                f"clock speed {self.clock_speed} and late_s {self.late_s}: above 0 and from 1 are expected"
            )
        if min(self.foreign_per_s, self.top_up_at_request, self.top_up_points) < 0:
            raise ValueError("foreign_per_s, top_up_at_request and top_up_points are never negative")


def check_loopback(host: str) -> None:
    """Refuse every address that other machines can reach, and names, which may come to mean one."""
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise ValueError(f"the simulator listens on loopback addresses only, not on {host!r}")


def _check_share(name: str, share: float) -> None:
    if not 0.0 <= share <= 1.0:
        raise ValueError(f"{name}: {share} is no probability")


SHARES = ("undelivered", "unreported", "interim", "late", "reordered", "repeated", "status_words")

FIXED = frozenset({"host", "port", "seed", "userid", "account", "password", "points", "task_id_start", "state"})
"""What cannot change while the gateway runs."""


def changed(settings: SimulatorSettings, changes: Mapping[str, object]) -> SimulatorSettings:
    """The settings with some values replaced, from JSON. Raises ValueError for unknown, fixed or impossible ones."""
    values: dict[str, object] = {}
    kinds = {f.name: type(getattr(settings, f.name)) for f in fields(settings)}
    for name, value in changes.items():
        if name not in kinds or name in FIXED:
            raise ValueError(f"{name} cannot be changed")
        values[name] = _converted(name, value, kinds[name])
    return replace(settings, **values)  # type: ignore[arg-type]  # each value has the kind of the field it replaces


def _converted(name: str, value: object, kind: type[object]) -> object:
    if name == "faults":
        if not isinstance(value, dict):
            raise ValueError("faults: an object of name and probability is expected")
        return {Fault(key).value: float(share) for key, share in value.items()}
    if kind is tuple:
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise ValueError(f"{name}: a list of texts is expected")
        return tuple(value)
    if issubclass(kind, StrEnum):
        return kind(str(value))
    if kind is bool and isinstance(value, bool):
        return value
    if kind is int and type(value) is int:
        return value
    if kind is float and type(value) in (int, float):
        return float(str(value))
    raise ValueError(f"{name}: {value!r} does not fit")


_NAMED = re.compile(r"    (\w+)(?::| =) ")


def said_of(kind: type) -> dict[str, str]:
    """What the comments beside the members of a class of this module say, by name: they are the help of the command line."""
    found: dict[str, str] = {}
    name = ""
    for line in inspect.getsource(kind).splitlines():
        if named := _NAMED.match(line):
            name = named[1]
        _code, sign, comment = line.partition("  # ")
        if sign and name:
            found.setdefault(name, comment)
    return found
