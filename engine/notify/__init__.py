"""Tells people and programs that a campaign paused, ended, is short of points or in doubt.

    Event ─notice─► Notice ─formats─► JSON, 企业微信, 钉钉 ─outbox─► command, posting

Nothing here may stop or delay a campaign: what cannot be told is logged.
"""

from __future__ import annotations

from engine.notify.channels import Channels
from engine.notify.notice import Kind, Notice, notice_of, trial
from engine.notify.outbox import Delivery, Outbox

__all__ = ["Channels", "Delivery", "Kind", "Notice", "Outbox", "notice_of", "trial"]
