"""The words of states, laws and kinds: every value that people see has its word in both languages."""

from __future__ import annotations

import errno
import os
from enum import StrEnum

import pytest

from engine.gateway.polls import ReportState
from engine.journal.port import OptOutSource, PollKind, SettledBy
from engine.language import speaking
from engine.ledger.audit import Law
from engine.model import BatchState, CampaignState, Exclusion, OutcomeKind, PauseReason
from engine.reasons import BECAUSE, LEFT_OUT
from engine.results.rows import DELIVERY_WORDS, EXCLUDED, STATE_WORDS
from engine.terms import SYSTEM, TERMS, kind_of, system_words, word_of

SHOWN: tuple[type[StrEnum], ...] = (BatchState, CampaignState, OutcomeKind, ReportState, SettledBy, OptOutSource, Law)
VALUES = [value.value for kind in SHOWN for value in kind] + [*DELIVERY_WORDS, EXCLUDED, *STATE_WORDS]


def chinese(text: str) -> bool:
    return not any(sign.isascii() and sign.isalpha() for sign in text)


@pytest.mark.parametrize("value", sorted(set(VALUES)))
def test_every_value_that_is_shown_is_a_term(value: str) -> None:
    assert value.replace("_", " ") in TERMS
    assert word_of(value) == value.replace("_", " ")
    with speaking("zh"):
        assert chinese(word_of(value))


def test_no_term_stands_for_nothing() -> None:
    assert set(TERMS) - {value.replace("_", " ") for value in VALUES} == set()


def test_every_reason_to_leave_out_and_to_pause_has_its_words() -> None:
    assert set(LEFT_OUT) == {reason.value for reason in Exclusion}
    assert set(BECAUSE) == set(PauseReason)


@pytest.mark.parametrize("kind", PollKind)
def test_every_kind_of_polls_has_its_plural(kind: PollKind) -> None:
    with speaking("zh"):
        assert chinese(kind_of(kind.value))


# ── what the operating system says ───────────────────────────────────────────────────────────────────────────────────


def test_the_system_s_words_are_those_it_says() -> None:
    assert set(SYSTEM) - {os.strerror(number) for number in errno.errorcode} == set()


def test_an_error_of_the_system_is_said_by_its_number_and_without_the_address_in_it() -> None:
    error = OSError(errno.ECONNREFUSED, "Connect call failed ('127.0.0.1', 1)")
    assert system_words(error) == "Connection refused"
    with speaking("zh"):
        assert system_words(error) == "连接被拒绝"


@pytest.mark.parametrize(("error", "said"), [(OSError("no number"), "no number"), (OSError(-2, "no name"), "no name")])
def test_an_error_without_a_number_of_the_system_has_its_own_words(error: OSError, said: str) -> None:
    assert system_words(error) == said
