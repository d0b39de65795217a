"""The variables of the environment that say how to reach the broker. Tests never see them."""

from __future__ import annotations

PRIVATE_VARIABLES = (
    "PASSMUSTER_BROKER",
    "PASSMUSTER_BROKER_URL",
    "PASSMUSTER_BROKER_PASSWORD_FILE",
    "PASSMUSTER_SECRET",
    "PASSMUSTER_SECRET_FILE",
)
"""Those with a secret, and those that say where one is."""
