"""The one door to tenacity: what surely was not taken, and reads that may be repeated, are tried again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception,
    retry_if_exception_type,
    retry_if_result,
    stop_after_attempt,
    wait_random_exponential,
)

from engine.errors import BadAnswer, NoAnswer, NotSent, NotTold
from engine.model import Outcome, PauseReason

Result = TypeVar("Result")
Sleep = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """`attempts` in all, waits between them random and growing from `wait_s` up to `wait_max_s` seconds."""

    attempts: int
    wait_s: float
    wait_max_s: float


async def until_taken(
    first: Outcome, step: Callable[[bool], Awaitable[Outcome]], policy: RetryPolicy, sleep: Sleep
) -> Outcome:
    """After a `first` attempt, call `step(last)` until its outcome is not "surely not taken", or the attempts are used up.

    `step` is told whether it will be the last. A configuration that is wrong is not tried again. Returns the last outcome.
    """
    made = 0

    async def next_step() -> Outcome:
        nonlocal made
        made += 1
        return first if made == 1 else await step(made >= policy.attempts)

    retrying = AsyncRetrying(
        retry=retry_if_result(may_be_sent_again),
        stop=stop_after_attempt(policy.attempts),
        wait=_as_told_or(policy),
        sleep=sleep,
        retry_error_callback=_last_result,
    )
    outcome: Outcome = await retrying(next_step)
    return outcome


async def until_read(read: Callable[[], Awaitable[Result]], policy: RetryPolicy, sleep: Sleep) -> Result:
    """Repeat a read that changes nothing (balance, keyword check). Raises what the last attempt raised."""
    retrying = AsyncRetrying(
        retry=retry_if_exception_type((NotSent, NoAnswer, BadAnswer)),
        stop=stop_after_attempt(policy.attempts),
        wait=wait_random_exponential(multiplier=policy.wait_s, max=policy.wait_max_s),
        sleep=sleep,
        reraise=True,
    )
    return await retrying(read)


async def until_told(tell: Callable[[], Awaitable[None]], policy: RetryPolicy, sleep: Sleep) -> None:
    """Repeat a notification that came to nothing and may come to something. Raises NotTold of the last attempt."""
    retrying = AsyncRetrying(
        retry=retry_if_exception(lambda error: isinstance(error, NotTold) and error.may_help),
        stop=stop_after_attempt(policy.attempts),
        wait=wait_random_exponential(multiplier=policy.wait_s, max=policy.wait_max_s),
        sleep=sleep,
        reraise=True,
    )
    await retrying(tell)


def may_be_sent_again(outcome: Outcome) -> bool:
    """Whether another attempt could do better: surely not taken, and not for a reason only the operator can mend."""
    return outcome.surely_not_taken and outcome.pause is not PauseReason.CONFIGURATION


def _as_told_or(policy: RetryPolicy) -> Callable[[RetryCallState], float]:
    growing = wait_random_exponential(multiplier=policy.wait_s, max=policy.wait_max_s)

    def wait(state: RetryCallState) -> float:
        told = _last_result(state).retry_after_s
        return max(told or 0.0, growing(state))

    return wait


def _last_result(state: RetryCallState) -> Any:
    assert state.outcome is not None
    return state.outcome.result()
