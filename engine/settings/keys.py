"""How a setting is called: by its key, in the environment, and as a flag."""

from __future__ import annotations

PREFIX = "XINSHI_"
CONFIG_VARIABLE = "XINSHI_CONFIG"
DEFAULT_ACCOUNT = "default"

# gateway/protocol.md, Lost answers: the server's own limit for a request is often 110 s.
SERVER_LIMIT_S = 110

# Where the flag is not the key's own name with dashes.
_FLAGS = {
    "pace.requests_per_second": "--requests-per-second",
    "pace.numbers_per_second": "--numbers-per-second",
    "pace.in_flight": "--in-flight",
    "journal.url": "--journal",
    "batch.max_recipients": "--batch-size",
    "account.signature": "--signature",
    "message.kind": "--kind",
    "message.checkcontent": "--checkcontent",
    "radar.max_per_number": "--max-per-number",
}

Key = tuple[str, ...]  # ("pace", "in_flight")

SECRETS = ("password", "proxy_password", "dingtalk_secret")
PATHS = (*(f"{secret}_file" for secret in SECRETS), "tls_ca", "tls_cert", "tls_key")
UNSHOWN = (*SECRETS, "webhook", "wecom", "dingtalk")


def dotted_key(key: Key) -> str:
    return ".".join(key)


def variable_of(key: Key) -> str:
    return PREFIX + "__".join(key).upper()


def key_of(variable: str) -> Key:
    return tuple(variable.removeprefix(PREFIX).lower().split("__"))


def flag_of(key: Key) -> str:
    return _FLAGS.get(dotted_key(key), "--" + "-".join(key).replace("_", "-"))
