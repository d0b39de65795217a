"""A broker that cannot be used: one line that says what is wrong and what to do, from both programs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import pytest

from tests.e2e.support.project import Project
from tests.e2e.support.queue_runs import SECRET, Worker
from tests.e2e.support.sources import script
from tests.support.broker_server import Certificates, broker_server, free_port, tls_front
from tests.support.fake_servers import http_server, old_server, silent_server

PASSWORD = "hidden-word"
OPEN = "user default on nopass ~* &* +@all"
CLOSED = f"user default on >{PASSWORD}x ~* &* +@all"

Place = AbstractContextManager[str]


@contextmanager
def plain(port: AbstractContextManager[int], login: str = "") -> Iterator[str]:
    with port as number:
        yield f"redis://{login}127.0.0.1:{number}"


@contextmanager
def real(*settings: str, login: str = "") -> Iterator[str]:
    with broker_server(*settings) as server:
        yield f"redis://{login}127.0.0.1:{server.port}"


@contextmanager
def nobody() -> Iterator[int]:
    yield free_port()


@contextmanager
def tls(
    certificates: Certificates, *, names: str = "DNS:localhost", days: int = 2, ca: str = "ca"
) -> Iterator[str]:
    shown = certificates.server(names=names, days=days)
    with broker_server(OPEN) as server, tls_front(server.port, shown) as port:
        query = {"ca": f"?ssl_ca_certs={certificates.ca}", "other": f"?ssl_ca_certs={certificates.other_ca}"}
        yield f"rediss://:{PASSWORD}@localhost:{port}{query.get(ca, '')}"


@contextmanager
def tls_to_plain() -> Iterator[str]:
    with broker_server(OPEN) as server:
        yield f"rediss://localhost:{server.port}"


@dataclass(frozen=True, kw_only=True)
class Bad:
    """A broker that cannot be used.

    Args:
        place: gives its address; may use certificates.
        says: what the line must hold, all of it.
        code: the exit status.
    """

    place: Callable[[Certificates], Place]
    says: tuple[str, ...]
    code: int = 3


def at(url: str) -> Callable[[Certificates], Place]:
    """Return the place of an address at which nobody is asked."""

    @contextmanager
    def place(_: Certificates) -> Iterator[str]:
        yield url

    return place


CASES = {
    "unreachable": Bad(
        place=lambda _: plain(nobody()), says=("cannot be reached", "check that Redis or Valkey runs there")
    ),
    "no such socket": Bad(
        place=at("redis+socket:///no/such.sock"), says=("redis+socket:///no/such.sock", "cannot be reached")
    ),
    "wrong password": Bad(
        place=lambda _: real(CLOSED, login=f":{PASSWORD}@"),
        says=("rejects the password", "with --broker-password-file"),
    ),
    "unknown user": Bad(
        place=lambda _: real(OPEN, login=f"me:{PASSWORD}@"), says=("rejects the password", "in the address")
    ),
    "no password": Bad(
        place=lambda _: real(CLOSED), says=("rejects the password", "Authentication required")
    ),
    "a web server": Bad(place=lambda _: plain(http_server()), says=("Valkey",)),
    "silence": Bad(place=lambda _: plain(silent_server()), says=("cannot be reached", "imeout")),
    "too old": Bad(
        place=lambda _: plain(old_server("5.0.7")), says=("has version 5.0.7", "at least 6.2 is needed")
    ),
    "a replica": Bad(
        place=lambda _: real(OPEN, "replicaof 127.0.0.1 1"), says=("is a slave", "the address of its master")
    ),
    "evicting": Bad(
        place=lambda _: real(OPEN, "maxmemory-policy allkeys-lru"),
        says=("evicts data when its memory is full", "maxmemory-policy allkeys-lru", "to noeviction"),
    ),
    "missing rights": Bad(
        place=lambda _: real("user default on nopass ~* &* +@all -info"),
        says=("'info' command", "docs/how-to/broker.md lists the rights"),
    ),
    "a wrong CA": Bad(
        place=lambda certificates: tls(certificates, ca="other"),
        says=("cannot be trusted", "unable to get local issuer certificate", "?ssl_ca_certs=PATH"),
    ),
    "a CA that only we know": Bad(
        place=lambda certificates: tls(certificates, ca=""), says=("cannot be trusted", "?ssl_ca_certs=PATH")
    ),
    "a wrong name": Bad(
        place=lambda certificates: tls(certificates, names="DNS:elsewhere"),
        says=("cannot be trusted", "not valid for 'localhost'"),
    ),
    "a certificate that has expired": Bad(
        place=lambda certificates: tls(certificates, days=0),
        says=("cannot be trusted", "certificate has expired"),
    ),
    "no TLS there": Bad(
        place=lambda _: tls_to_plain(),
        says=("cannot be reached", "check that Redis or Valkey with TLS runs there"),
    ),
    "no file of CAs": Bad(
        place=at("rediss://localhost?ssl_ca_certs=/no/such.pem"),
        says=("ssl_ca_certs /no/such.pem", "cannot be used: no such file or directory"),
        code=2,
    ),
    "nonsense for CAs": Bad(
        place=at("rediss://localhost?ssl_ca_certs=/etc/hostname"),
        says=("ssl_ca_certs /etc/hostname", "a file of certificates in PEM"),
        code=2,
    ),
    "nonsense for a certificate": Bad(
        place=at("rediss://localhost?ssl_certfile=/etc/hostname"),
        says=("ssl_certfile /etc/hostname",),
        code=2,
    ),
    "no checks wanted": Bad(
        place=at("rediss://localhost?ssl_cert_reqs=none"), says=("certificates are always checked",), code=2
    ),
    "another scheme": Bad(
        place=at("amqp://localhost"), says=("has the scheme 'amqp'", "PASSMUSTER_BROKER_URL"), code=2
    ),
}


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.mark.parametrize("name", CASES)
def test_both_programs_refuse_it_in_one_line(project: Project, certificates: Certificates, name: str) -> None:
    case = CASES[name]
    project.write({"tests/test_a.py": script("open('was_run', 'w')")})
    with case.place(certificates) as url:
        env = {"PASSMUSTER_BROKER_URL": url, "PASSMUSTER_SECRET": SECRET}
        with Worker(project, env=env) as worker:
            outcome = project.run(env=env)
            code, log = worker.wait()

    for status, text, start in ((outcome.code, outcome.stderr, "[FAIL] "), (code, log, "worker: ")):
        (line,) = text.splitlines()
        assert (status, line[: len(start)]) == (case.code, start), line
        for fragment in case.says:
            assert fragment in line
        assert PASSWORD not in line
    assert outcome.stdout == ""
    assert not (project.root / "was_run").exists()
