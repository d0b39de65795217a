"""The broker settings shared by all programs of Passmuster. Tests do not see their environment variables."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from passmuster.settings.setting import VARIABLE_PREFIX, Group, Setting, setting
from passmuster.settings.values import NONE, PATH, ValueType, optional

if TYPE_CHECKING:
    from passmuster.wire.broker import BrokerAddress

SECRET_VARIABLE = "PASSMUSTER_SECRET"
"""The secret that signs messages. It has no option: all users of the machine can read arguments."""

BROKER_VARIABLE = "PASSMUSTER_BROKER_URL"
"""The broker's address."""


def _read_broker(text: str) -> str:
    from passmuster.wire.broker import read_address  # Few runs have a broker.

    return read_address(text.strip()).url


def _shown_broker(text: str) -> str:
    from passmuster.wire.broker import read_address

    try:
        return read_address(text.strip()).shown
    except ValueError:
        return text if text.strip().lower() == NONE else "(not shown)"


BROKER = ValueType(
    parse=_read_broker, expected="an address such as redis://host:6379/0", metavar="URL", shown=_shown_broker
)

BROKER_ROW = setting(
    "broker",
    optional(BROKER),
    "the Redis or Valkey server through which workers on other machines run the files",
    group=Group.QUEUE,
    default="none: this machine runs them",
    legacy=BROKER_VARIABLE,
)
PASSWORD_FILE_ROW = setting(
    "broker-password-file",
    optional(PATH),
    "file with the broker's password, so that the address need not contain it",
    group=Group.QUEUE,
)
SECRET_FILE_ROW = setting(
    "secret-file",
    optional(PATH),
    "file with the secret that signs messages between dispatcher and workers",
    group=Group.QUEUE,
    default=f"${SECRET_VARIABLE}",
)


def own_variables(rows: Iterable[Setting]) -> tuple[str, ...]:
    """Return the secret's variable, and those of the settings whose names start with `VARIABLE_PREFIX`.

    Tests never see them. Some contain a secret or name a file with one. The others are about this run: a run
    that a test starts would serve its metrics at the same port, and write its reports over this run's.
    """
    names = (name for row in rows for name in (*row.variables, *row.renamed))
    return (SECRET_VARIABLE, *(name for name in names if name.startswith(VARIABLE_PREFIX)))


def visible_password_warning(address: BrokerAddress, *, option: str) -> str | None:
    """Return a warning if the address that was given as the argument `option` contains a password."""
    if not (address.password or (address.sentinel is not None and address.sentinel.password)):
        return None
    return (
        f"all users of this machine can read the password in {option} while this runs: "
        f"use {BROKER_VARIABLE} or --broker-password-file"
    )
