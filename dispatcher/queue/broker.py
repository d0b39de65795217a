"""The configured broker: its address and the secret, from their various sources."""

from __future__ import annotations

from collections.abc import Mapping

from dispatcher.config.model import TestConfig
from passmuster.model.errors import ConfigurationError
from passmuster.wire.broker import BrokerAddress, parse_broker, with_password
from passmuster.wire.broker_settings import BROKER_VARIABLE, SECRET_VARIABLE
from passmuster.wire.signing_secret import read_secret_file, require_secret


def broker_address(config: TestConfig) -> BrokerAddress:
    """Return the broker's address, password included.

    Raises:
        ConfigurationError: none is configured, or the file with the password cannot be read.
    """
    if config.broker is None:
        raise ConfigurationError(
            f"no broker was given: use --broker URL, or set {BROKER_VARIABLE}, "
            "or broker in [tool.passmuster] of pyproject.toml"
        )
    address = parse_broker(config.broker, source="--broker")
    if config.broker_password_file is None:
        return address
    password = read_secret_file(config.broker_password_file, source="--broker-password-file")
    return with_password(address, password)


def broker_access(config: TestConfig, environ: Mapping[str, str]) -> tuple[BrokerAddress, str]:
    """Return the broker's address, password included, and the secret.

    Raises:
        ConfigurationError: no broker is configured, a file cannot be read, or a required secret is missing.
    """
    address = broker_address(config)
    secret = environ.get(SECRET_VARIABLE, "")
    if config.secret_file is not None:
        secret = read_secret_file(config.secret_file, source="--secret-file")
    require_secret(address, secret)
    return address, secret
