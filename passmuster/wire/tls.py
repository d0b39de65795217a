"""Sets up TLS to the broker. The server's certificate and name are always verified; unusable files are
errors."""

from __future__ import annotations

import ssl

from passmuster.model.errors import ConfigurationError
from passmuster.wire.broker import BrokerAddress, TlsFiles


def tls_options(files: TlsFiles) -> dict[str, object]:
    """Return the arguments for redis-py's `SSLConnection`, which Celery takes too."""
    return {
        "ssl_cert_reqs": "required",
        "ssl_check_hostname": True,
        "ssl_ca_certs": files.ca_certs or None,
        "ssl_certfile": files.certfile or None,
        "ssl_keyfile": files.keyfile or None,
    }


def check_tls_files(address: BrokerAddress) -> None:
    """Check the address's files for TLS now, before their errors look like errors of the server.

    Raises:
        ConfigurationError: a file cannot be read, or has the wrong content.
    """
    files = address.tls
    if files is None:
        return
    context = ssl.create_default_context()
    try:
        if files.ca_certs:
            context.load_verify_locations(files.ca_certs)
    except OSError as error:
        raise ConfigurationError(
            f"ssl_ca_certs {files.ca_certs} of the broker {address.shown} cannot be used: {_reason(error)}; "
            "name a file of certificates in PEM"
        ) from error
    try:
        if files.certfile:
            # Without a password, OpenSSL would ask for one on the terminal and wait.
            context.load_cert_chain(files.certfile, files.keyfile or None, password=b"")
    except OSError as error:
        raise ConfigurationError(
            f"ssl_certfile {files.certfile} and its key {files.keyfile or 'in it'} of the broker "
            f"{address.shown} cannot be used: {_reason(error)}; name a certificate and an unencrypted key in"
            " PEM"
        ) from error


def tls_problem(error: BaseException | None) -> str | None:
    """Return the TLS problem that `error` or one of its causes reports; None: another problem."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return error.verify_message.removesuffix(".")
        if isinstance(error, ssl.SSLError):
            return f"no TLS with it: {_reason(error)}"
        error = error.__cause__ or error.__context__
    return None


def _reason(error: OSError) -> str:
    reason = error.reason if isinstance(error, ssl.SSLError) else error.strerror
    return (reason or str(error)).lower().replace("_", " ")
