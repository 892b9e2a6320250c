"""A login page or a dead backend must not turn a campaign into doubts."""

from __future__ import annotations

import asyncio

import pytest

from engine.dispatch.breaker import Breaker
from engine.model import Outcome, OutcomeKind, PauseReason, RefusalKind

ACCEPTED = Outcome(kind=OutcomeKind.ACCEPTED, task_id="1")
DOUBT = Outcome(kind=OutcomeKind.IN_DOUBT)
NOT_SENT = Outcome(kind=OutcomeKind.NOT_SENT)
NOT_TAKEN = Outcome(kind=OutcomeKind.NOT_TAKEN)
UNKNOWN = Outcome(kind=OutcomeKind.REFUSED, refusal=RefusalKind.UNKNOWN)
CONTENT = Outcome(kind=OutcomeKind.REFUSED, refusal=RefusalKind.CONTENT)


@pytest.fixture
def breaker() -> Breaker:
    return Breaker(doubts=3, refusals=3)


async def one(breaker: Breaker, outcome: Outcome | None) -> PauseReason | None:
    """One request, out and back, with nothing else in flight."""
    await breaker.enter()
    return breaker.leave(outcome)


async def each(breaker: Breaker, *outcomes: Outcome | None) -> list[PauseReason | None]:
    """One after the other."""
    return [await one(breaker, outcome) for outcome in outcomes]


async def out(breaker: Breaker, requests: int) -> None:
    for _ in range(requests):
        await breaker.enter()


async def waiting(breaker: Breaker, requests: int) -> list[asyncio.Task[None]]:
    """So many who ask to enter, each as far as it gets."""
    tasks = [asyncio.create_task(breaker.enter()) for _ in range(requests)]
    await settled()
    return tasks


async def settled() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def entered(tasks: list[asyncio.Task[None]]) -> int:
    await settled()
    return sum(task.done() for task in tasks)


async def go_home(breaker: Breaker, tasks: list[asyncio.Task[None]]) -> None:
    breaker.let_go()
    await asyncio.gather(*tasks)


async def test_three_doubts_one_after_the_other_pause(breaker: Breaker) -> None:
    assert await each(breaker, DOUBT, DOUBT, DOUBT) == [None, None, PauseReason.DOUBTS]


@pytest.mark.parametrize("answer", [ACCEPTED, CONTENT, UNKNOWN])
async def test_an_answer_ends_a_run_of_doubts(breaker: Breaker, answer: Outcome) -> None:
    assert await each(breaker, DOUBT, DOUBT, answer, DOUBT, DOUBT) == [None] * 5


@pytest.mark.parametrize("silence", [NOT_SENT, NOT_TAKEN, None])
async def test_what_never_reached_the_application_neither_ends_nor_lengthens_a_run(
    breaker: Breaker, silence: Outcome | None
) -> None:
    assert await each(breaker, DOUBT, silence, DOUBT, silence, DOUBT) == [None] * 4 + [PauseReason.DOUBTS]


async def test_nothing_leaves_while_requests_are_out_after_three_doubts(breaker: Breaker) -> None:
    await out(breaker, 5)
    assert [breaker.leave(DOUBT) for _ in range(3)] == [None] * 3
    more = await waiting(breaker, 4)
    assert await entered(more) == 0
    assert breaker.leave(DOUBT) is None
    assert await entered(more) == 0
    await go_home(breaker, more)


async def test_after_the_last_one_is_back_a_single_request_tries(breaker: Breaker) -> None:
    await out(breaker, 4)
    assert [breaker.leave(DOUBT) for _ in range(3)] == [None] * 3
    more = await waiting(breaker, 4)
    assert breaker.leave(DOUBT) is None  # a full set lost at once is a server that was restarted
    assert await entered(more) == 1
    await go_home(breaker, more)


async def test_a_single_request_that_is_lost_too_pauses(breaker: Breaker) -> None:
    await out(breaker, 4)
    for _ in range(4):
        breaker.leave(DOUBT)
    more = await waiting(breaker, 4)
    assert await entered(more) == 1
    assert breaker.leave(DOUBT) is PauseReason.DOUBTS
    await go_home(breaker, more)


@pytest.mark.parametrize("answer", [ACCEPTED, CONTENT])
async def test_a_single_request_that_is_answered_lets_everybody_go_on(breaker: Breaker, answer: Outcome) -> None:
    await out(breaker, 4)
    for _ in range(4):
        breaker.leave(DOUBT)
    more = await waiting(breaker, 4)
    assert breaker.leave(answer) is None
    assert await entered(more) == 4


@pytest.mark.parametrize("silence", [NOT_SENT, NOT_TAKEN, None])
async def test_a_single_request_that_tells_nothing_is_followed_by_another(
    breaker: Breaker, silence: Outcome | None
) -> None:
    await out(breaker, 4)
    for _ in range(4):
        breaker.leave(DOUBT)
    more = await waiting(breaker, 4)
    for tried in (1, 2, 3):
        assert await entered(more) == tried
        assert breaker.leave(silence) is None
    assert await entered(more) == 4
    assert breaker.leave(DOUBT) is PauseReason.DOUBTS


async def test_an_answer_among_those_out_lets_sending_go_on(breaker: Breaker) -> None:
    await out(breaker, 5)
    for _ in range(4):
        breaker.leave(DOUBT)
    more = await waiting(breaker, 3)
    assert await entered(more) == 0
    assert breaker.leave(ACCEPTED) is None
    assert await entered(more) == 3


async def test_three_unknown_refusals_in_a_row_pause(breaker: Breaker) -> None:
    assert await each(breaker, UNKNOWN, UNKNOWN, UNKNOWN) == [None, None, PauseReason.REFUSALS]


@pytest.mark.parametrize("known", [ACCEPTED, CONTENT])
async def test_a_known_answer_ends_a_run_of_unknown_refusals(breaker: Breaker, known: Outcome) -> None:
    assert await each(breaker, UNKNOWN, UNKNOWN, known, UNKNOWN, UNKNOWN) == [None] * 5


@pytest.mark.parametrize("silence", [DOUBT, NOT_SENT, NOT_TAKEN])
async def test_silence_does_not_end_a_run_of_unknown_refusals(breaker: Breaker, silence: Outcome) -> None:
    assert await each(breaker, UNKNOWN, UNKNOWN, silence, UNKNOWN) == [None] * 3 + [PauseReason.REFUSALS]


@pytest.mark.parametrize(
    ("outcome", "answered"), [(ACCEPTED, True), (CONTENT, True), (DOUBT, False), (NOT_SENT, False), (NOT_TAKEN, False)]
)
async def test_only_the_application_s_word_counts_as_an_answer(
    breaker: Breaker, outcome: Outcome, answered: bool
) -> None:
    await one(breaker, outcome)
    assert breaker.answered is answered


async def test_who_waits_is_woken_when_the_campaign_stops(breaker: Breaker) -> None:
    await out(breaker, 4)
    for _ in range(3):
        breaker.leave(DOUBT)
    more = await waiting(breaker, 3)
    assert await entered(more) == 0
    breaker.let_go()
    assert await entered(more) == 3


async def test_who_gives_up_waiting_is_not_counted_in(breaker: Breaker) -> None:
    await out(breaker, 4)
    for _ in range(3):
        breaker.leave(DOUBT)
    (impatient,) = await waiting(breaker, 1)
    impatient.cancel()
    await asyncio.wait([impatient])
    assert breaker.leave(DOUBT) is None
    more = await waiting(breaker, 2)
    assert await entered(more) == 1
    await go_home(breaker, more)
