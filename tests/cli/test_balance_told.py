"""What is said of the account's balance: whose it is, when it was read, and what no reading tells yet."""

from __future__ import annotations

import re
import signal

from tests.cli.desk import Desk, during, until


async def test_before_a_closing_reading_the_audit_says_that_the_charge_is_not_known(desk: Desk) -> None:
    desk.configure("[pace]\nrequests_per_second = 5\n[batch]\nmax_recipients = 1\n")
    desk.list(60)
    process = await desk.start(*desk.order("--campaign", "spring"))
    await during(process, until(lambda: desk.truth["requests"] >= 4))
    process.send_signal(signal.SIGKILL)
    await process.communicate()
    told = (await desk.run("audit", "spring")).output
    assert "0 charged" not in told
    assert "what was charged is not known yet" in " ".join(told.split())


async def test_the_balance_is_the_account_s_with_the_time_it_was_read(desk: Desk) -> None:
    desk.list(5)
    desk.list(7, seed=2, name="other.csv")
    await desk.run(*desk.order("--campaign", "spring"))
    await desk.run(*desk.order("--campaign", "autumn", name="other.csv"))
    status = (await desk.run("status", "spring")).output
    assert re.search(r"balance +4,988  the account's, read .*[0-9]{2}:[0-9]{2}.*; 5,000 before", status), status
    assert "now," not in status
