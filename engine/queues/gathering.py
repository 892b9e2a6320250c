"""Parcel -> Group: what arrives gathers by campaign and text, until it fills a request or has waited long enough. Pure.

Nobody stands twice in a group. A message goes whole into one group: when its group is durable, it may be acknowledged.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from engine.language import _
from engine.model import Exclusion, Message
from engine.queues.source import Delivery


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """One number of a message that is not a recipient. `raw`: the mobile, or what was written where it is none."""

    raw: str = field(repr=False)
    reason: Exclusion
    detail: str

    @property
    def words(self) -> str:
        """Why, for whoever wants to know what became of it."""
        return f"{self.reason.value}: {_(self.detail)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """One message that was found good: who gets which text, and whom it leaves out. Its mobiles are distinct."""

    delivery: Delivery
    notice_id: str
    campaign: str
    message: Message = field(repr=False)
    mobiles: tuple[str, ...] = field(repr=False)
    left_out: tuple[LeftOut, ...] = ()


@dataclass(slots=True, kw_only=True)
class Group:
    """Parcels of one campaign and text, for `most` recipients. `due_s`: when the first of them has waited long enough."""

    campaign: str
    message: Message
    most: int
    due_s: float
    parcels: list[Parcel] = field(default_factory=list)
    mobiles: set[str] = field(default_factory=set, repr=False)

    def batches(self) -> list[list[tuple[str, str]]]:
        """(message id, mobile) of everybody in it, in the order of arrival. One batch, unless one message alone is larger."""
        rows = [(parcel.notice_id, mobile) for parcel in self.parcels for mobile in parcel.mobiles]
        return [rows[begin : begin + self.most] for begin in range(0, len(rows), self.most)]


class Gathering:
    """Holds what is not durable yet. Times are seconds on the caller's clock."""

    def __init__(self, *, sizes: Iterator[int], linger_s: float) -> None:
        """`sizes`: recipients in one request, for one group after the other."""
        self._sizes, self._linger_s = sizes, linger_s
        self._groups: dict[tuple[str, str], Group] = {}
        self._ids: set[str] = set()

    @property
    def ids(self) -> frozenset[str]:
        """The ids of the messages it holds."""
        return frozenset(self._ids)

    def __len__(self) -> int:
        return sum(len(group.mobiles) for group in self._groups.values())

    def add(self, parcel: Parcel, *, now_s: float) -> list[Group]:
        """Take a parcel in. Returns the groups that are complete by it."""
        key = (parcel.campaign, parcel.message.content)
        complete = []
        group = self._groups.get(key)
        if group is not None and self._is_too_much(group, parcel):
            complete.append(self._take(key))
            group = None
        if group is None:
            group = Group(
                campaign=parcel.campaign,
                message=parcel.message,
                most=next(self._sizes),
                due_s=now_s + self._linger_s,
            )
            self._groups[key] = group
        group.parcels.append(parcel)
        group.mobiles.update(parcel.mobiles)
        self._ids.add(parcel.notice_id)
        if len(group.mobiles) >= group.most:
            complete.append(self._take(key))
        return complete

    def _is_too_much(self, group: Group, parcel: Parcel) -> bool:
        is_full = len(group.mobiles) + len(parcel.mobiles) > group.most
        return is_full or not group.mobiles.isdisjoint(parcel.mobiles)

    def due(self, now_s: float) -> list[Group]:
        """The groups that have waited long enough."""
        return [self._take(key) for key, group in list(self._groups.items()) if group.due_s <= now_s]

    def rest(self) -> list[Group]:
        """All groups, whatever they wait for."""
        return [self._take(key) for key in list(self._groups)]

    def next_due_s(self) -> float | None:
        """When the next group is due; None: there is none."""
        return min((group.due_s for group in self._groups.values()), default=None)

    def _take(self, key: tuple[str, str]) -> Group:
        group = self._groups.pop(key)
        self._ids.difference_update(parcel.notice_id for parcel in group.parcels)
        return group


def deliveries_of(groups: Sequence[Group]) -> Iterator[Delivery]:
    """The messages that these groups were made of."""
    return (parcel.delivery for group in groups for parcel in group.parcels)
