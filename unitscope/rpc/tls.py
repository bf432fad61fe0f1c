"""TLS of servers and channels, from files that may change while a server runs.

A server shows its certificate, and asks clients for one where it has authorities of clients. A client
speaks TLS where it has authorities of servers, and shows its certificate where it has one::

    server.add_secure_port(address, server_credentials(TlsSettings()))
    grpc.secure_channel(address, channel_credentials(TlsSettings()))
"""

from __future__ import annotations

import logging
import ssl
from dataclasses import dataclass
from pathlib import Path

import grpc

from unitscope.errors import InvalidArgumentError, UnitScopeError
from unitscope.rpc.addresses import is_loopback
from unitscope.rpc.watched import Stamp, Watched, stamp
from unitscope.settings import TlsSettings

log = logging.getLogger(__name__)

PREFIX = "UNITSCOPE_TLS_"


@dataclass(frozen=True)
class Material:
    """What the files hold: a private key and its certificate chain, and authorities; all PEM.

    Attributes:
        key: The private key; None where there is no certificate.
        chain: The certificate with its chain; None like the key.
        authorities: Whom to trust; None where nobody is asked.
    """

    key: bytes | None
    chain: bytes | None
    authorities: bytes | None

    def __repr__(self) -> str:
        return "Material(...)"


def offers_tls(settings: TlsSettings) -> bool:
    """Whether servers of this program speak TLS."""
    return settings.certificate_file is not None


def server_credentials(settings: TlsSettings) -> grpc.ServerCredentials | None:
    """A server's credentials, which follow their files; None where no certificate is set.

    New connections use the files as they are then. Where they cannot be used, e.g. because certificate
    and key do not belong together, the last good ones stay in use, and the log says so.

    Raises:
        InvalidArgumentError: The settings are incomplete or a file cannot be used (INVALID_TLS).
    """
    pair = _pair(settings)
    if pair is None:
        if settings.client_ca_file is not None:
            raise _invalid(f"{PREFIX}CLIENT_CA_FILE needs {PREFIX}CERTIFICATE_FILE and {PREFIX}KEY_FILE too")
        return None
    ca = settings.client_ca_file
    watched = Watched([*pair, *([ca] if ca else [])], lambda: _read(pair, ca))
    in_use = _first(watched)
    said = ""

    def changed() -> grpc.ServerCertificateConfiguration | None:
        nonlocal in_use, said
        try:
            material = watched.current()
        except (UnitScopeError, OSError) as error:
            # gRPC asks at every new connection; the log says it once.
            if str(error) != said:
                said = str(error)
                log.error("TLS files were changed but cannot be used; the former stay in use: %s", error)
            return None
        if material is in_use:
            return None
        in_use, said = material, ""
        log.info("TLS files were changed and are in use from now on")
        return _configuration(material)

    return grpc.dynamic_ssl_server_credentials(
        _configuration(in_use), changed, require_client_authentication=ca is not None
    )


def channel_credentials(settings: TlsSettings) -> grpc.ChannelCredentials | None:
    """A client's credentials, from the files as they are now; None where it speaks plaintext.

    Raises:
        InvalidArgumentError: The settings are incomplete or a file cannot be used (INVALID_TLS).
    """
    pair, ca = _pair(settings), settings.server_ca_file
    if ca is None:
        if pair is not None:
            raise _invalid(
                f"{PREFIX}CERTIFICATE_FILE is set but {PREFIX}SERVER_CA_FILE is not: name the authorities "
                "that have signed the servers' certificates"
            )
        return None
    material = _first(Watched([*(pair or ()), ca], lambda: _read(pair, ca)))
    return grpc.ssl_channel_credentials(material.authorities, material.key, material.chain)


def files_stamp(settings: TlsSettings) -> Stamp | None:
    """Something that changes when a client's files do: its channels are then to be opened anew.

    None where a file is not there, as for a moment while it is replaced.
    """
    files = (settings.certificate_file, settings.key_file, settings.server_ca_file)
    try:
        return stamp([path for path in files if path is not None])
    except OSError:
        return None


def channel_options(address: str, settings: TlsSettings) -> list[tuple[str, str | int]]:
    """Options that a channel to the address needs beside its credentials."""
    options: list[tuple[str, str | int]] = []
    if settings.server_name and settings.server_ca_file is not None:
        options.append(("grpc.ssl_target_name_override", settings.server_name))
    if is_loopback(address):
        # A proxy would carry off the machine what is meant to stay on it.
        options.append(("grpc.enable_http_proxy", 0))
    return options


def _pair(settings: TlsSettings) -> tuple[Path, Path] | None:
    """The files of certificate and key."""
    certificate, key = settings.certificate_file, settings.key_file
    if certificate is not None and key is not None:
        return certificate, key
    if certificate is not None or key is not None:
        given, missing = ("CERTIFICATE", "KEY") if key is None else ("KEY", "CERTIFICATE")
        raise _invalid(f"{PREFIX}{given}_FILE is set but {PREFIX}{missing}_FILE is not; both are needed")
    return None


def _first(watched: Watched[Material]) -> Material:
    try:
        return watched.current()
    except OSError as error:
        raise _invalid(f"the TLS file {error.filename} cannot be read: {error.strerror}") from error


def _read(pair: tuple[Path, Path] | None, ca: Path | None) -> Material:
    """Reads and checks the files. Raises InvalidArgumentError and OSError."""
    chain = key = authorities = None
    if pair is not None:
        chain, key = (path.read_bytes() for path in pair)
        try:
            # Were no password given, OpenSSL would ask for one on the terminal.
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(*pair, password="")
        except ssl.SSLError as error:
            raise _invalid(
                f"the certificate {pair[0]} and the key {pair[1]} cannot be used "
                f"({error.reason or 'not PEM, or encrypted'}); both must be PEM, the key not encrypted, "
                "and belong together"
            ) from error
    if ca is not None:
        authorities = ca.read_bytes()
        try:
            text = authorities.decode("ascii", "replace")
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text)
        except (ssl.SSLError, ValueError) as error:
            raise _invalid(f"{ca} holds no PEM certificate of an authority") from error
    return Material(key, chain, authorities)


def _configuration(material: Material) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration(
        [(material.key, material.chain)], root_certificates=material.authorities
    )


def _invalid(message: str) -> InvalidArgumentError:
    return InvalidArgumentError(message, reason="INVALID_TLS")
