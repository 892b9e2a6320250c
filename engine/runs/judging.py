"""Notice -> Parcel: what of a queue's message can be sent, to whom, and in which words."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from datetime import date, datetime
from typing import Generic, TypeVar

from engine.errors import PlanError
from engine.language import N_, _
from engine.model import Exclusion, Message
from engine.numbers import Refusal, examine
from engine.orders.plans import refuse_name
from engine.planning.template import parsed
from engine.planning.text import Frame
from engine.planning.wording import FilledText, TextFault, worded
from engine.queues import BadNotice, Delivery, Notice, Parcel
from engine.queues.gathering import LeftOut
from engine.tracking import Barred

KEPT_TEXTS = 1_000

Key = TypeVar("Key")
Value = TypeVar("Value")


class Judge:
    """Decides what of a message can be sent, and in which words."""

    def __init__(
        self,
        frame: Frame,
        barred: Barred,
        *,
        name: str,
        today: Callable[[], date] = lambda: datetime.now().astimezone().date(),
    ) -> None:
        self._frame, self._barred, self._name, self._today = frame, barred, name, today
        self._texts: Recent[str, Message] = Recent(KEPT_TEXTS)
        self._templates: Recent[str, Callable[[dict[str, str]], Message]] = Recent(KEPT_TEXTS)

    def parcel(self, delivery: Delivery, notice: Notice, known: set[str]) -> Parcel | None:
        """What is new in a message, beside the numbers that are `known` under its id. None: nothing is. Raises BadNotice."""
        mobiles: dict[str, None] = {}
        left_out: list[LeftOut] = []
        for written in notice.numbers:
            for verdict in examine(written):
                if isinstance(verdict, Refusal):
                    if written not in known:
                        left_out.append(LeftOut(raw=written, reason=verdict.reason, detail=verdict.detail))
                elif verdict in known:
                    continue
                elif verdict in mobiles:
                    left_out.append(LeftOut(raw=verdict, reason=Exclusion.DUPLICATE, detail=N_("twice in one message")))
                elif self._barred.among(verdict):
                    detail = N_("the person asked for no more messages")
                    left_out.append(LeftOut(raw=verdict, reason=Exclusion.OPTED_OUT, detail=detail))
                else:
                    mobiles[verdict] = None
        if not mobiles and not left_out:
            return None
        return Parcel(
            delivery=delivery,
            notice_id=notice.notice_id,
            campaign=self._campaign(notice),
            message=self._message(notice),
            mobiles=tuple(mobiles),
            left_out=tuple(left_out),
        )

    def _campaign(self, notice: Notice) -> str:
        name = notice.campaign or self.campaign_of_today
        try:
            refuse_name(name)
        except PlanError as error:
            raise BadNotice(str(error)) from error
        return name

    @property
    def campaign_of_today(self) -> str:
        """Where a message goes that names no campaign."""
        return f"{self._name}-{self._today():%Y-%m-%d}"

    def _message(self, notice: Notice) -> Message:
        try:
            if notice.variables is None:
                return self._texts.get_or(notice.text, self._frame.around)
            return self._templates.get_or(notice.text, self._filler)(dict(notice.variables))
        except PlanError as error:
            raise BadNotice(str(error)) from error

    def _filler(self, template: str) -> Callable[[dict[str, str]], Message]:
        """Fills one template. Only names stand in it, and a value can neither be a signature nor hold what cannot be sent."""
        wording = worded(parsed(template), self._frame, {})
        if not isinstance(wording, FilledText):
            message = wording.message
            return lambda _: message
        speaker, names = wording.speaker(), wording.names

        def fill(values: dict[str, str]) -> Message:
            if missing := [name for name in names if name not in values]:
                raise BadNotice(
                    _("the template needs {names}, and vars have none").format(names=_(" and ").join(missing))
                )
            (said,) = speaker([[values[name]] for name in names])
            if isinstance(said, TextFault):
                raise BadNotice(_(said.detail))
            return said

        return fill


class Recent(Generic[Key, Value]):
    """Keeps the values asked for last."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._values: OrderedDict[Key, Value] = OrderedDict()

    def get(self, key: Key) -> Value | None:
        if key in self._values:
            self._values.move_to_end(key)
        return self._values.get(key)

    def put(self, key: Key, value: Value) -> None:
        self._values[key] = value
        if len(self._values) > self._most:
            self._values.popitem(last=False)

    def get_or(self, key: Key, make: Callable[[Key], Value]) -> Value:
        found = self.get(key)
        if found is None:
            found = make(key)
            self.put(key, found)
        return found
