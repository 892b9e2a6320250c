"""Queue -> Notice: brokers behind one small protocol, the messages they bring, and how those gather into batches."""

from __future__ import annotations

from engine.queues.gathering import Gathering, Group, Parcel
from engine.queues.notice import BadNotice, Notice, read_notice
from engine.queues.source import Address, Delivery, Source, Terms, open_source

__all__ = [
    "Address",
    "BadNotice",
    "Delivery",
    "Gathering",
    "Group",
    "Notice",
    "Parcel",
    "Source",
    "Terms",
    "open_source",
    "read_notice",
]
