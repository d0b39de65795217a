"""The broker settings shared by all programs of Passmuster. Tests do not see their environment variables."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from passmuster.settings.setting import Group, Setting, setting
from passmuster.settings.values import NONE, PATH, ValueType, optional

if TYPE_CHECKING:
    from passmuster.wire.broker import BrokerAddress

SECRET_VARIABLE = "PASSMUSTER_SECRET"
"""The secret that signs messages. It has no argument: everybody on the machine could read it there."""

BROKER_VARIABLE = "PASSMUSTER_BROKER_URL"
"""The variable that messages recommend for the broker's address."""


def _read_broker(text: str) -> str:
    from passmuster.wire.broker import read_address  # Few runs have one.

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
    "the Redis or Valkey server over which workers elsewhere run the files",
    group=Group.QUEUE,
    default="none: this machine runs them",
    legacy=BROKER_VARIABLE,
    is_secret=True,
)
PASSWORD_FILE_ROW = setting(
    "broker-password-file",
    optional(PATH),
    "a file that holds the server's password, so that no address has to",
    group=Group.QUEUE,
    default="none",
    is_secret=True,
)
SECRET_FILE_ROW = setting(
    "secret-file",
    optional(PATH),
    "a file that holds the secret by which this program and its workers know each other",
    group=Group.QUEUE,
    default=f"${SECRET_VARIABLE}",
    is_secret=True,
)


def private_variables(rows: Iterable[Setting]) -> tuple[str, ...]:
    """Return the variables with a secret, and those that say where one is."""
    return (SECRET_VARIABLE, *(name for row in rows if row.is_secret for name in row.variables))


def visible_password_warning(address: BrokerAddress, *, option: str) -> str | None:
    """Return a warning if an address that was given as an argument holds a password.

    Args:
        address: the broker's.
        option: the option whose value it was.
    """
    if not address.password:
        return None
    return (
        f"everybody on this machine can read the password in {option} while this runs: "
        f"use {BROKER_VARIABLE} or --broker-password-file"
    )
