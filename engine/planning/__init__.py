"""Recipient -> Batch: the final text, what it costs, how the recipients are cut into requests, and the preview of it all."""

from __future__ import annotations

from engine.lines import pack_lines, unpack_lines
from engine.planning.batching import Batcher, Grouper, batch_sizes, distinct_allowed
from engine.planning.order import order_key, plan_hash
from engine.planning.preview import PlanTally, forecast_s
from engine.planning.segments import segments, units
from engine.planning.template import Template, parsed
from engine.planning.text import Frame, compose
from engine.planning.values import Forbidden, Survey, Surveyor, without
from engine.planning.wording import FilledText, OwnText, SameText, TextFault, Wording, worded

__all__ = [
    "Batcher",
    "FilledText",
    "Forbidden",
    "Frame",
    "Grouper",
    "OwnText",
    "PlanTally",
    "SameText",
    "Survey",
    "Surveyor",
    "Template",
    "TextFault",
    "Wording",
    "batch_sizes",
    "compose",
    "distinct_allowed",
    "forecast_s",
    "order_key",
    "pack_lines",
    "parsed",
    "plan_hash",
    "segments",
    "units",
    "unpack_lines",
    "without",
    "worded",
]
