"""The broker's address is validated first, and never shown with its password."""

from __future__ import annotations

import pytest

from passmuster.model.errors import ConfigurationError
from passmuster.wire.broker import SentinelGroup, TlsFiles, parse_broker, with_password
from passmuster.wire.broker_settings import visible_password_warning


@pytest.mark.parametrize(
    ("url", "host", "port", "database", "is_loopback", "shown"),
    [
        ("redis://127.0.0.1", "127.0.0.1", 6379, 0, True, "redis://127.0.0.1:6379/0"),
        ("redis://localhost:7000/3", "localhost", 7000, 3, True, "redis://localhost:7000/3"),
        ("redis://:geheim@cache.example/", "cache.example", 6379, 0, False, "redis://cache.example:6379/0"),
        ("redis://me:geheim@10.0.0.1:1", "10.0.0.1", 1, 0, False, "redis://10.0.0.1:1/0"),
        ("redis://[::1]:7000", "::1", 7000, 0, True, "redis://[::1]:7000/0"),
        (
            "rediss://:geheim@h?ssl_ca_certs=/ca.pem",
            "h",
            6379,
            0,
            False,
            "rediss://h:6379/0?ssl_ca_certs=/ca.pem",
        ),
        (
            "redis://localhost.example",
            "localhost.example",
            6379,
            0,
            False,
            "redis://localhost.example:6379/0",
        ),
    ],
)
def test_an_address_is_read(
    url: str, host: str, port: int, database: int, is_loopback: bool, shown: str
) -> None:
    address = parse_broker(url, source="--broker")

    assert (address.url, address.host, address.port, address.database) == (url, host, port, database)
    assert (address.path, address.is_loopback, address.shown) == ("", is_loopback, shown)
    assert "geheim" not in repr(address)


def test_a_unix_socket_is_a_loopback_address() -> None:
    address = parse_broker("redis+socket://:geheim@/run/a.sock?virtual_host=2", source="--broker")

    assert (address.path, address.database, address.is_loopback) == ("/run/a.sock", 2, True)
    assert address.shown == "redis+socket:///run/a.sock?virtual_host=2"


def test_both_schemes_of_a_unix_socket_are_accepted() -> None:
    address = parse_broker("unix://me:ge%2Fheim@/run/a%20b.sock?db=3", source="--broker")

    assert (address.path, address.database, address.user) == ("/run/a b.sock", 3, "me")
    assert (address.password, address.shown) == ("ge/heim", "unix:///run/a%20b.sock?db=3")


def test_files_for_tls_are_read() -> None:
    query = "ssl_ca_certs=/ca.pem&ssl_certfile=/me.pem&ssl_keyfile=/me.key"

    assert parse_broker(f"rediss://h?{query}", source="--broker").tls == TlsFiles(
        ca_certs="/ca.pem", certfile="/me.pem", keyfile="/me.key"
    )
    assert parse_broker("rediss://h", source="--broker").tls == TlsFiles()
    assert parse_broker("redis://h", source="--broker").tls is None


@pytest.mark.parametrize(
    "query",
    [
        "ssl_cert_reqs=none",
        "ssl_cert_reqs=required",
        "ssl_check_hostname=false",
        "ssl_ca_certs=ca.pem",
        "ssl_ca_certs=",
        "ssl_keyfile=/me.key",
        "db=3",
    ],
)
def test_no_option_can_weaken_tls(query: str) -> None:
    with pytest.raises(ConfigurationError, match="expected redis"):
        parse_broker(f"rediss://:geheim@h?{query}", source="--broker")


def test_replacing_the_password_keeps_the_rest_of_the_address() -> None:
    address = parse_broker("rediss://me:old@h:7000/2?ssl_ca_certs=/ca.pem", source="--broker")

    changed = with_password(address, "p@ss/word")

    assert (changed.user, changed.password, changed.tls) == ("me", "p@ss/word", address.tls)
    assert changed.shown == address.shown


@pytest.mark.parametrize(("url", "is_visible"), [("redis://:geheim@h", True), ("redis://h", False)])
def test_a_password_in_an_argument_causes_a_warning(url: str, is_visible: bool) -> None:
    warning = visible_password_warning(parse_broker(url, source="--broker"), option="--broker")

    assert (warning is not None) is is_visible
    assert "geheim" not in (warning or "")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost",
        "localhost:6379",
        "amqp://:geheim@host",
        "redis://",
        "redis://:geheim@",
        "redis://:geheim@host:port",
        "redis://:geheim@host:99999",
        "redis://:geheim@host:0",
        "redis://:geheim@host/db",
        "redis://:geheim@host/-1",
        "redis://:ge?heim@host",
        "redis://:ge#heim@host",
        "redis://:geheim@[::1",
        "redis+socket://",
        "redis+socket://geheim/run/a.sock",
        "redis+socket:///run/a.sock?db=1",
        "sentinel://geheim",
        "sentinel://geheim?master_name=",
        "sentinel://geheim?master_name=a%20b",
        "sentinel://?master_name=m",
        "sentinel://geheim;?master_name=m",
        "sentinel://:ge;heim@a?master_name=m",
        "sentinel://:ge#heim@a?master_name=m",
        "sentinel://a:0?master_name=m",
        "sentinel://a/geheim?master_name=m",
        "sentinel://a;sentinels://geheim?master_name=m",
        "sentinel://:a@geheim;sentinel://:b@geheim?master_name=m",
        "sentinel://geheim?master_name=m&ssl_ca_certs=/ca.pem",
        "sentinels://geheim?master_name=m&ssl_cert_reqs=none",
    ],
)
def test_an_invalid_address_is_rejected_with_its_source_and_without_its_password(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_broker(url, source="--broker")

    assert "(from --broker)" in str(caught.value)
    assert "redis://[[user]:password@]host" in str(caught.value)
    assert "sentinel://[[user]:password@]host" in str(caught.value)
    assert "heim" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "sentinel://me:geheim@a:1;sentinel://b/3?master_name=m",
        "sentinel://me:geheim@a:1/3?master_name=m;sentinel://me:geheim@b/3?master_name=m",
        "sentinel://a:1;me:geheim@b/3?master_name=m",
    ],
)
def test_sentinels_are_written_as_for_celery(url: str) -> None:
    address = parse_broker(url, source="--broker")

    assert address.sentinel == SentinelGroup(nodes=(("a", 1), ("b", 26379)), master_name="m")
    assert (address.user, address.password, address.database) == ("me", "geheim", 3)
    assert (address.is_loopback, address.tls) == (False, None)
    assert address.shown == "sentinel://a:1;sentinel://b:26379/3?master_name=m"
    changed = with_password(address, "p@ss;w/rd")
    assert (changed.sentinel, changed.user, changed.password) == (address.sentinel, "me", "p@ss;w/rd")
    assert (changed.database, changed.shown) == (3, address.shown)


def test_sentinels_have_a_password_and_tls_of_their_own() -> None:
    login = "sentinel_user=eye&sentinel_password=ge%26heim"
    url = f"sentinels://[::1]:1;sentinels://b?master_name=m&{login}&ssl_ca_certs=/ca.pem"
    address = parse_broker(url, source="--broker")

    assert address.sentinel == SentinelGroup(
        nodes=(("::1", 1), ("b", 26379)), master_name="m", user="eye", password="ge&heim"
    )
    assert address.tls == TlsFiles(ca_certs="/ca.pem")
    assert address.shown == "sentinels://[::1]:1;sentinels://b:26379/0?master_name=m"
    assert "heim" not in repr(address)
    assert visible_password_warning(address, option="--broker") is not None
