"""Errors of the worker.

PassmusterError
└── InfrastructureError
    └── KeeperStartError    the process that keeps a slot could not be started
"""

from __future__ import annotations

from passmuster.errors import InfrastructureError


class KeeperStartError(InfrastructureError):
    """A slot's keeper could not be started: no processes or memory are left."""
