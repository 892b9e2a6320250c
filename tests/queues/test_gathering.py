"""Messages with the same text share a request, and nobody stands twice in one."""

from __future__ import annotations

from itertools import repeat

from hypothesis import given
from hypothesis import strategies as st

from engine.model import Message
from engine.queues import Delivery, Gathering, Group, Parcel


def parcel(notice_id: str, *mobiles: str, text: str = "x", campaign: str = "c") -> Parcel:
    return Parcel(
        delivery=Delivery(body=b"", handle=notice_id),
        notice_id=notice_id,
        campaign=campaign,
        message=Message(text, len(text), 1),
        mobiles=mobiles,
    )


def gathering(most: int = 3, linger_s: float = 1.0) -> Gathering:
    return Gathering(sizes=repeat(most), linger_s=linger_s)


def ids(groups: list[Group]) -> list[list[str]]:
    return [[each.notice_id for each in group.parcels] for group in groups]


def test_messages_gather_until_the_request_is_full() -> None:
    gathered = gathering(3)
    assert [gathered.add(parcel(name, name), now_s=0.0) for name in "ab"] == [[], []]
    assert ids(gathered.add(parcel("c", "c"), now_s=0.0)) == [["a", "b", "c"]]
    assert len(gathered) == 0
    assert gathered.next_due_s() is None


def test_another_text_or_campaign_is_another_request() -> None:
    gathered = gathering(2)
    assert gathered.add(parcel("a", "1"), now_s=0.0) == []
    assert gathered.add(parcel("b", "2", text="y"), now_s=0.0) == []
    assert gathered.add(parcel("c", "3", campaign="d"), now_s=0.0) == []
    assert ids(gathered.rest()) == [["a"], ["b"], ["c"]]


def test_nobody_waits_longer_than_the_linger_of_the_first() -> None:
    gathered = gathering(3, linger_s=0.2)
    gathered.add(parcel("a", "1"), now_s=10.0)
    gathered.add(parcel("b", "2"), now_s=10.1)
    assert gathered.next_due_s() == 10.2
    assert gathered.due(10.19) == []
    assert ids(gathered.due(10.2)) == [["a", "b"]]


def test_the_same_person_again_begins_another_request() -> None:
    gathered = gathering(3)
    gathered.add(parcel("a", "1"), now_s=0.0)
    assert ids(gathered.add(parcel("b", "1"), now_s=0.0)) == [["a"]]
    assert ids(gathered.rest()) == [["b"]]


def test_a_message_larger_than_a_request_is_cut_and_stays_one_group() -> None:
    (group,) = gathering(2).add(parcel("a", "1", "2", "3", "4", "5"), now_s=0.0)
    assert [len(batch) for batch in group.batches()] == [2, 2, 1]


def test_a_message_does_not_fall_apart_over_two_groups() -> None:
    gathered = gathering(3)
    gathered.add(parcel("a", "1", "2"), now_s=0.0)
    assert ids(gathered.add(parcel("b", "3", "4"), now_s=0.0)) == [["a"]]
    assert gathered.ids == {"b"}


def test_neighbouring_requests_can_differ_in_size() -> None:
    gathered = Gathering(sizes=iter([3, 2]), linger_s=1.0)
    complete = [group for at in range(5) for group in gathered.add(parcel(f"n{at}", str(at)), now_s=0.0)]
    assert [len(group.mobiles) for group in complete] == [3, 2]


_SOMEBODY = st.lists(st.sampled_from("123456"), unique=True, max_size=4)


@given(sent=st.lists(st.tuples(_SOMEBODY, st.sampled_from("xy")), max_size=30), most=st.integers(1, 4))
def test_nobody_is_lost_nobody_twice_in_a_batch_and_no_batch_is_too_large(
    sent: list[tuple[list[str], str]], most: int
) -> None:
    gathered = gathering(most)
    groups: list[Group] = []
    for at, (mobiles, text) in enumerate(sent):
        groups += gathered.add(parcel(f"n{at}", *mobiles, text=text), now_s=0.0)
    groups += gathered.rest()
    batches = [batch for group in groups for batch in group.batches()]
    assert sorted(row for batch in batches for row in batch) == sorted(
        (f"n{at}", mobile) for at, (mobiles, _) in enumerate(sent) for mobile in mobiles
    )
    assert all(len(batch) <= most for batch in batches)
    assert all(len({mobile for _, mobile in batch}) == len(batch) for batch in batches)
    assert sorted(each.notice_id for group in groups for each in group.parcels) == sorted(
        f"n{at}" for at in range(len(sent))
    )
