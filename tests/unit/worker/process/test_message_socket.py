"""Messages arrive whole, however the socket cuts them, and none may grow without bound."""

from __future__ import annotations

import marshal
import socket
from collections.abc import Iterator

import pytest

from worker.child.passmuster_child_channel import MARSHAL_VERSION
from worker.process.message_socket import (
    MAX_MESSAGE_BYTES,
    MessageSocket,
    SocketClosedError,
    open_socket_pair,
)


@pytest.fixture
def ends() -> Iterator[tuple[MessageSocket, socket.socket]]:
    link, theirs = open_socket_pair()
    with theirs:
        yield link, theirs
    link.close()


def test_a_message_that_arrives_in_pieces_is_returned_once_it_is_complete(
    ends: tuple[MessageSocket, socket.socket],
) -> None:
    link, theirs = ends
    body = marshal.dumps(("started", 7), MARSHAL_VERSION)
    data = len(body).to_bytes(4, "big") + body

    theirs.sendall(data[:6])
    assert link.receive() == []
    theirs.sendall(data[6:] + data)

    assert link.receive() == [("started", 7), ("started", 7)]


def test_an_impossible_message_length_closes_the_socket(
    ends: tuple[MessageSocket, socket.socket],
) -> None:
    link, theirs = ends
    theirs.sendall((MAX_MESSAGE_BYTES + 1).to_bytes(4, "big") + b"x")

    with pytest.raises(SocketClosedError):
        link.receive()
