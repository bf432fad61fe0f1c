"""Servers do not become reachable from elsewhere by accident."""

from __future__ import annotations

import logging

from unitscope.errors import FailedPreconditionError
from unitscope.rpc.addresses import is_loopback
from unitscope.rpc.tls import offers_tls, server_credentials
from unitscope.settings import ServerSettings, TlsSettings

log = logging.getLogger(__name__)


def check_server(name: str, settings: ServerSettings, tokens: bool = False) -> None:
    """Checks all that a server's start would check, without opening a port.

    Raises:
        UnitScopeError: As `check_exposure` and `server_credentials` do.
    """
    tls = TlsSettings()
    check_exposure(name, settings.listen or "localhost:0", tls, tokens, settings.insecure)
    server_credentials(tls)


def check_exposure(name: str, address: str, tls: TlsSettings, tokens: bool, insecure: bool) -> None:
    """Refuses an address beyond loopback where the server neither encrypts nor asks who calls.

    Args:
        name: The server's name.
        address: ``host:port`` to listen on.
        tls: Its TLS.
        tokens: Whether it asks for tokens.
        insecure: Lets it do so nevertheless; the log then says what is missing.

    Raises:
        FailedPreconditionError: It would be open to its network (reason INSECURE_ADDRESS).
    """
    if is_loopback(address):
        return
    missing = []
    if not offers_tls(tls):
        missing.append("TLS (UNITSCOPE_TLS_CERTIFICATE_FILE and _KEY_FILE)")
    if not tokens and tls.client_ca_file is None:
        needed = "certificates of its clients (UNITSCOPE_TLS_CLIENT_CA_FILE)"
        missing.append(f"tokens (UNITSCOPE_GATEWAY_TOKENS_FILE) or {needed}" if name == "gateway" else needed)
    if not missing:
        return
    lacks = " and ".join(missing)
    if not insecure:
        raise FailedPreconditionError(
            f"{address}, where the {name} is to listen, is reachable from other machines, and these are not "
            f"set: {lacks}. Set them, listen on 127.0.0.1, or, where something else guards the network, set "
            "UNITSCOPE_SERVER_INSECURE=yes",
            reason="INSECURE_ADDRESS",
            address=address,
        )
    log.warning("INSECURE: %s listens on %s, reachable from other machines, without %s", name, address, lacks)
