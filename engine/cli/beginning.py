"""What every command begins with: its flags become the settings and the log."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from engine.cli import out
from engine.cli.words import Common, Order
from engine.dispatch.hours import zone_of
from engine.errors import SettingsError
from engine.language import _
from engine.moments import tell_times_in
from engine.settings import Settings, load_settings
from engine.telemetry import LogFile, configure_logging
from engine.terms import system_words


def read_settings(common: Common, order: Order | None = None, *, warns: bool = False) -> Settings:
    configure_logging(-1 if common.quiet else common.verbose, json_lines=False, stream=sys.stderr)
    pace = "pace" if common.account == "default" else f"accounts.{common.account}.pace"
    overrides: dict[str, object] = {"journal.url": common.journal}
    if order is not None:
        overrides["batch.max_recipients"] = order.batch_size
        overrides["message.kind"] = order.kind
        overrides["message.checkcontent"] = order.checkcontent or None
        overrides["radar.max_per_number"] = order.max_per_number
        overrides[f"{pace}.requests_per_second"] = order.requests_per_second
        overrides[f"{pace}.numbers_per_second"] = order.numbers_per_second
        overrides[f"{pace}.in_flight"] = order.in_flight
    if common.account != "default":  # a flag for the pace of an account that is not there would seem to define one
        load_settings(common.config, overrides={}).for_account(common.account)
    settings = load_settings(common.config, overrides=overrides)
    tell_times_in(zone_of(settings.hours.timezone))
    _log_to_file(settings, common)
    for warning in settings.warnings if order is not None or warns else ():
        out.tell(common, _("Note: {warning}\n").format(warning=warning))
    return settings


def _log_to_file(settings: Settings, common: Common) -> None:
    log = settings.log
    if not log.file:
        return
    file = LogFile(
        path=Path(log.file),
        level=logging.getLevelNamesMapping()[log.level.upper()],
        max_bytes=max(1, round(log.max_mb * 1_000_000)),
        keep=log.keep,
    )
    try:
        configure_logging(-1 if common.quiet else common.verbose, json_lines=False, stream=sys.stderr, file=file)
    except OSError as error:
        raise SettingsError(
            _("log.file: {file} cannot be opened: {strerror}").format(file=log.file, strerror=system_words(error))
        ) from error


def same_journal(common: Common) -> list[str]:
    """The flags with which another command finds this journal and account."""
    given = {"--config": common.config, "--journal": common.journal}
    words = [word for flag, value in given.items() if value is not None for word in (flag, str(value))]
    return words if common.account == "default" else [*words, "--account", common.account]
