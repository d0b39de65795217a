"""Every way to a broker, each with a whole run over it: the command, a worker and a real server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.e2e.support.project import Project
from tests.e2e.support.queue_runs import SECRET, Worker
from tests.e2e.support.sources import FAILING, PASSING
from tests.support.broker_server import BrokerServer, Certificates, broker_server, tls_front

PASSWORD = "a;b@c/d?e#f g%h"
ENCODED = "a%3Bb%40c%2Fd%3Fe%23f%20g%25h"

WAYS = {
    "password": "redis://:{password}@127.0.0.1:{port}",
    "user": "redis://us%3Aer:{password}@localhost:{port}/3",
    "socket": "redis+socket://:{password}@{socket}",
    "socket and user": "redis+socket://us%3Aer:{password}@{socket}?virtual_host=2",
    "socket by its other name": "unix://:{password}@{socket}?db=1",
    "tls": "rediss://:{password}@localhost:{tls}?ssl_ca_certs={ca}",
    "tls by number": "rediss://us%3Aer:{password}@127.0.0.1:{tls}/1?ssl_ca_certs={ca}",
    "tls with a certificate": (
        "rediss://:{password}@localhost:{mutual}?ssl_ca_certs={ca}&ssl_certfile={cert}&ssl_keyfile={key}"
    ),
}


@pytest.fixture(scope="module")
def server() -> Iterator[BrokerServer]:
    with broker_server(
        f'user default on ">{PASSWORD}" ~* &* +@all',
        f'user us:er on ">{PASSWORD}" ~* &* +@all',
    ) as server:
        yield server


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def places(server: BrokerServer, certificates: Certificates) -> Iterator[dict[str, str]]:
    """What stands for each word of `WAYS`."""
    shown = certificates.server(names="DNS:localhost,IP:127.0.0.1")
    own = certificates.server(names="DNS:client")
    with ExitStack() as undo:
        yield {
            "password": ENCODED,
            "port": str(server.port),
            "socket": str(server.socket_path),
            "tls": str(undo.enter_context(tls_front(server.port, shown))),
            "mutual": str(undo.enter_context(tls_front(server.port, shown, client_ca=certificates.ca))),
            "ca": str(certificates.ca),
            "cert": str(own[0]),
            "key": str(own[1]),
        }


@pytest.mark.parametrize("way", WAYS)
def test_a_run_goes_over_it(project: Project, places: dict[str, str], way: str) -> None:
    env = {"PASSMUSTER_BROKER_URL": WAYS[way].format(**places), "PASSMUSTER_SECRET": SECRET}
    project.write({"tests/test_a.py": PASSING, "tests/test_b.py": FAILING, "tests/test_c.py": PASSING})

    with Worker(project, env=env) as worker:
        worker.wait_until_ready()
        outcome = project.run(env=env)
        worker.end()

    assert outcome.code == 1, f"{outcome}\n{worker.log}"
    assert outcome.statuses() == {
        "tests/test_a.py": "PASS",
        "tests/test_b.py": "FAIL",
        "tests/test_c.py": "PASS",
    }
    assert worker.process.returncode == 0
    assert worker.log.splitlines()[-1].startswith("ran ")
    for text in (outcome.stdout, outcome.stderr, worker.log):
        assert PASSWORD not in text
        assert ENCODED not in text
