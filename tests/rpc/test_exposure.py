"""Who can reach an address, and when a server may listen on it."""

import logging
from pathlib import Path

import pytest

from unitscope.errors import FailedPreconditionError
from unitscope.rpc import Server, exposure
from unitscope.rpc.addresses import is_loopback
from unitscope.rpc.exposure import check_exposure
from unitscope.settings import ServerSettings, TlsSettings
from unitscope.v1 import info_pb2

PAIR = {"certificate_file": Path("c.pem"), "key_file": Path("k.pem")}
PLAIN, TLS, MUTUAL = TlsSettings(), TlsSettings(**PAIR), TlsSettings(**PAIR, client_ca_file=Path("ca.pem"))


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("127.0.0.1:7400", True),
        ("127.8.9.1:1", True),
        ("localhost:7400", True),
        ("[::1]:7400", True),
        ("unix:/run/gateway.sock", True),
        ("dns:///localhost:7400", True),
        ("ipv4:127.0.0.1:7400", True),
        ("ipv4:127.0.0.1:7400,10.0.0.1:7400", False),
        ("0.0.0.0:7400", False),
        ("[::]:7400", False),
        ("10.0.0.1:7400", False),
        ("gateway:7400", False),
        ("localhost.evil.example:7400", False),
        ("dns://10.0.0.53/localhost:7400", False),
        (":7400", False),
        ("", False),
    ],
)
def test_loopback(address, local):
    assert is_loopback(address) is local


@pytest.mark.parametrize(
    ("tls", "tokens", "missing"),
    [
        (PLAIN, False, ["TLS", "CLIENT_CA_FILE"]),
        (PLAIN, True, ["TLS"]),
        (TLS, False, ["CLIENT_CA_FILE"]),
        (TLS, True, []),
        (MUTUAL, False, []),
        (MUTUAL, True, []),
    ],
)
def test_an_open_server_is_refused_or_loud(tls, tokens, missing, caplog):
    check_exposure("linker", "127.0.0.1:1", tls, tokens, False)
    if not missing:
        check_exposure("linker", "0.0.0.0:1", tls, tokens, False)
        return
    with pytest.raises(FailedPreconditionError, match="UNITSCOPE_SERVER_INSECURE=yes") as caught:
        check_exposure("linker", "0.0.0.0:1", tls, tokens, False)
    assert caught.value.reason == "INSECURE_ADDRESS"
    assert all(part in caught.value.message for part in missing)
    # The others are of what earlier tests left running.
    assert not [record for record in caplog.records if record.name == exposure.__name__]
    with caplog.at_level(logging.WARNING):
        check_exposure("linker", "0.0.0.0:1", tls, tokens, True)
    assert "INSECURE" in caplog.text
    assert all(part in caplog.text for part in missing)


def test_a_server_asks_before_it_opens_its_port():
    server = Server("linker", 0, [], info_pb2.GetInfoResponse, ServerSettings(listen="0.0.0.0:0"))
    with pytest.raises(FailedPreconditionError, match=r"0\.0\.0\.0"):
        server.start()
    server.stop()


def test_only_the_gateway_is_told_of_tokens():
    for name, told in [("gateway", True), ("linker", False)]:
        with pytest.raises(FailedPreconditionError) as caught:
            check_exposure(name, "0.0.0.0:1", TLS, False, False)
        assert ("UNITSCOPE_GATEWAY_TOKENS_FILE" in caught.value.message) is told
