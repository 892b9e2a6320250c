"""What surely was not taken is tried again, as often as the policy says and not sooner than the gateway says."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from engine.dispatch.retry import RetryPolicy, may_be_sent_again, until_read, until_taken
from engine.errors import BadAnswer, GatewayError, NoAnswer, NotSent, Refused
from engine.model import Outcome, OutcomeKind, PauseReason

POLICY = RetryPolicy(attempts=4, wait_s=0.5, wait_max_s=3)

ACCEPTED = Outcome(kind=OutcomeKind.ACCEPTED, task_id="1")
REFUSED = Outcome(kind=OutcomeKind.REFUSED)
DOUBT = Outcome(kind=OutcomeKind.IN_DOUBT)
NOT_SENT = Outcome(kind=OutcomeKind.NOT_SENT)
LATER = Outcome(kind=OutcomeKind.NOT_TAKEN, pause=PauseReason.THROTTLED, retry_after_s=17)
WRONG = Outcome(kind=OutcomeKind.NOT_TAKEN, pause=PauseReason.CONFIGURATION)


class Script:
    """Gives one outcome after the other; notes how often it was asked, what it was told, and every sleep."""

    def __init__(self, outcomes: Sequence[Outcome | GatewayError]) -> None:
        self._outcomes = iter(outcomes)
        self.told: list[bool] = []
        self.slept: list[float] = []

    async def step(self, last: bool) -> Outcome:
        self.told.append(last)
        outcome = next(self._outcomes)
        assert isinstance(outcome, Outcome)
        return outcome

    async def read(self) -> Outcome:
        self.told.append(False)
        outcome = next(self._outcomes)
        if isinstance(outcome, GatewayError):
            raise outcome
        return outcome

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


async def taken(script: Script, policy: RetryPolicy) -> Outcome:
    first = await script.step(policy.attempts == 1)
    return await until_taken(first, script.step, policy, script.sleep)


@pytest.mark.parametrize("end", [ACCEPTED, REFUSED, DOUBT, WRONG], ids=lambda o: f"{o.kind}-{o.pause}")
@pytest.mark.parametrize("before", [0, 1, 3])
async def test_it_is_tried_until_an_outcome_that_is_not_surely_not_taken(before: int, end: Outcome) -> None:
    script = Script([NOT_SENT] * before + [end])
    assert await taken(script, POLICY) is end
    assert len(script.told) == before + 1
    assert len(script.slept) == before


@pytest.mark.parametrize("outcome", [NOT_SENT, LATER])
async def test_the_attempts_are_bounded_and_the_last_one_knows_it(outcome: Outcome) -> None:
    script = Script([outcome] * 10)
    assert await taken(script, POLICY) is outcome
    assert script.told == [False, False, False, True]
    assert len(script.slept) == 3


async def test_one_attempt_is_the_last_one() -> None:
    script = Script([NOT_SENT] * 10)
    await taken(script, RetryPolicy(attempts=1, wait_s=1, wait_max_s=1))
    assert (script.told, script.slept) == ([True], [])


async def test_a_doubt_is_never_tried_again() -> None:
    script = Script([DOUBT] * 10)
    assert await taken(script, POLICY) is DOUBT
    assert (len(script.told), script.slept) == (1, [])


async def test_a_wrong_configuration_is_not_tried_again() -> None:
    script = Script([WRONG] * 10)
    assert await taken(script, POLICY) is WRONG
    assert len(script.told) == 1


async def test_waits_are_bounded_and_never_shorter_than_the_gateway_asked_for() -> None:
    script = Script([NOT_SENT, LATER, NOT_SENT, ACCEPTED])
    await taken(script, POLICY)
    first, told, third = script.slept
    assert 0 <= first <= 3
    assert told == 17
    assert 0 <= third <= 3


async def test_waits_grow_with_the_attempts() -> None:
    policy = RetryPolicy(attempts=9, wait_s=1, wait_max_s=16)
    waits = []
    for _ in range(50):
        script = Script([NOT_SENT] * 9)
        await taken(script, policy)
        waits.append(script.slept)
    most = [max(column) for column in zip(*waits, strict=True)]
    assert all(wait <= bound for wait, bound in zip(most, (1, 2, 4, 8, 16, 16, 16, 16), strict=True))
    assert most[-1] > 4


async def test_an_error_of_a_step_is_not_swallowed_and_not_tried_again() -> None:
    asked = 0

    async def step(_: bool) -> Outcome:
        nonlocal asked
        asked += 1
        if asked == 1:
            return NOT_SENT
        raise ValueError("ours")

    with pytest.raises(ValueError, match="ours"):
        await until_taken(await step(False), step, POLICY, Script([]).sleep)
    assert asked == 2


@pytest.mark.parametrize("error", [NotSent("down"), NoAnswer("cut"), BadAnswer("html")], ids=lambda e: type(e).__name__)
async def test_a_read_is_repeated_until_it_succeeds(error: GatewayError) -> None:
    script = Script([error, error, ACCEPTED])
    assert await until_read(script.read, POLICY, script.sleep) is ACCEPTED
    assert len(script.slept) == 2
    assert all(0 <= wait <= 3 for wait in script.slept)


async def test_a_read_that_never_succeeds_raises_what_the_last_one_raised() -> None:
    script = Script([NotSent(str(n)) for n in range(1, 10)])
    with pytest.raises(NotSent, match="4"):
        await until_read(script.read, POLICY, script.sleep)
    assert len(script.told) == 4


async def test_a_refused_read_is_not_repeated() -> None:
    script = Script([Refused("wrong password")] * 9)
    with pytest.raises(Refused):
        await until_read(script.read, POLICY, script.sleep)
    assert (len(script.told), script.slept) == (1, [])


@pytest.mark.parametrize("kind", list(OutcomeKind))
@pytest.mark.parametrize("pause", [None, PauseReason.CONFIGURATION, PauseReason.THROTTLED])
def test_only_what_surely_was_not_taken_may_be_sent_again(kind: OutcomeKind, pause: PauseReason | None) -> None:
    surely_not = kind in (OutcomeKind.NOT_SENT, OutcomeKind.NOT_TAKEN)
    wanted = surely_not and pause is not PauseReason.CONFIGURATION
    assert may_be_sent_again(Outcome(kind=kind, pause=pause)) is wanted
