"""What makes two orders the same, and two plans."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from engine.planning import order_key, plan_hash

PLAN: dict[str, Any] = {"profile": "standard", "requests_per_second": 10, "limit": None, "exclusive": True}


def test_the_same_order_has_the_same_key_however_its_files_are_listed() -> None:
    assert order_key("acct", "你好", ["a", "b"]) == order_key("acct", "你好", ["b", "a"])
    assert len(order_key("acct", "你好", ["a"])) == 64


@pytest.mark.parametrize(
    "other",
    [
        ("acc", "t你好", ["a", "b"]),
        ("acct你", "好", ["a", "b"]),
        ("acct", "你好", ["ab"]),
        ("acct", "你好a", ["b"]),
        ("acct", "你好", ["a"]),
        ("acct", "你好 ", ["a", "b"]),
        ("acct", '你好","a', ["b"]),
    ],
)
def test_another_account_text_or_list_is_another_order(other: tuple[str, str, list[str]]) -> None:
    assert order_key(*other) != order_key("acct", "你好", ["a", "b"])


def test_a_text_that_cannot_be_encoded_still_has_a_key() -> None:
    assert order_key("acct", "\ud800", []) != order_key("acct", "\ud801", [])


def test_the_plan_hash_is_short_and_does_not_depend_on_the_sequence_of_its_names() -> None:
    assert len(plan_hash("key", PLAN)) == 12
    assert plan_hash("key", PLAN) == plan_hash("key", dict(reversed(PLAN.items())))


@pytest.mark.parametrize(
    "change",
    [
        {"profile": "gbk"},
        {"requests_per_second": 11},
        {"requests_per_second": "10"},
        {"requests_per_second": True},
        {"limit": 0},
        {"limit": "None"},
        {"exclusive": 1},
        {"window": None},
    ],
)
def test_every_change_of_the_plan_shows(change: dict[str, Any]) -> None:
    assert plan_hash("key", PLAN | change) != plan_hash("key", PLAN)
    assert plan_hash("other", PLAN) != plan_hash("key", PLAN)


@pytest.mark.parametrize(
    ("one", "same"),
    [
        (10, 10.0),
        (10, Decimal("10.00")),
        (0.5, Decimal("0.5")),
        (1000, Decimal("1e3")),
        (datetime(2026, 1, 1, 4, tzinfo=UTC), datetime(2026, 1, 1, 12, tzinfo=timezone(timedelta(hours=8)))),
    ],
)
def test_another_spelling_of_a_value_does_not_show(one: Any, same: Any) -> None:
    assert plan_hash("key", {"value": one}) == plan_hash("key", {"value": same})


@pytest.mark.parametrize(("value", "error"), [([], TypeError), (b"", TypeError), (datetime(2026, 1, 1), ValueError)])  # noqa: DTZ001
def test_a_value_without_one_meaning_is_refused(value: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        plan_hash("key", {"value": value})


def test_hashes_stay_as_they_are_across_versions() -> None:
    # Journals hold them: another value here means that yesterday's order is not recognised today.
    assert order_key("acct", "你好", ["a", "b"])[:12] == "51bd63b6aa9b"
    assert plan_hash("key", PLAN) == "a658e21e0bef"
