"""TLS and mutual TLS over real channels, with certificates made for the test."""

import logging
import shutil
from contextlib import contextmanager

import pytest
from cryptography.hazmat.primitives import serialization

from tests.support.certificates import Authority
from unitscope.errors import InvalidArgumentError, UnavailableError
from unitscope.rpc import Server, invoke, open_channel
from unitscope.rpc.tls import channel_credentials, server_credentials
from unitscope.settings import ServerSettings, TlsSettings
from unitscope.v1 import info_pb2, info_pb2_grpc


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    return Pki(tmp_path_factory.mktemp("pki"))


class Pki:
    def __init__(self, folder):
        self.authority = Authority(folder, "authority")
        self.stranger = Authority(folder, "stranger")
        self.server = self.authority.issue("server")
        self.client = self.authority.issue("client")
        self.expired = self.authority.issue("expired", days=-2)
        self.strange = self.stranger.issue("strange")
        self.elsewhere = self.authority.issue("elsewhere", host="elsewhere")


def pair(of):
    return {"certificate_file": of.certificate, "key_file": of.key}


@contextmanager
def serving(tls):
    settings = ServerSettings(listen="127.0.0.1:0", drain_seconds=0)
    answer = info_pb2.GetInfoResponse(service="here")
    server = Server("linker", 0, [], lambda: answer, settings, tls=tls)
    try:
        yield server.start()
    finally:
        server.stop()


def ask(address, **tls):
    with open_channel(address, tls=TlsSettings(**tls)) as channel:
        stub = info_pb2_grpc.InfoServiceStub(channel)
        return invoke(stub.GetInfo, info_pb2.GetInfoRequest(), 60, "the linker").service


def refused(address, **tls):
    with pytest.raises(UnavailableError) as caught:
        ask(address, **tls)
    return caught.value


def test_tls(pki):
    with serving(TlsSettings(**pair(pki.server))) as address:
        assert ask(address, server_ca_file=pki.authority.certificate) == "here"
        port = address.rpartition(":")[2]
        assert ask(f"localhost:{port}", server_ca_file=pki.authority.certificate) == "here"
        assert refused(address).metadata["closed"] == "True"
        error = refused(address, server_ca_file=pki.stranger.certificate)
        assert error.reason == "TLS_FAILED"
        assert "no authority of UNITSCOPE_TLS_SERVER_CA_FILE" in error.message


def test_mutual_tls_lets_in_whom_the_authority_signed_and_nobody_else(pki):
    ca = pki.authority.certificate
    with serving(TlsSettings(**pair(pki.server), client_ca_file=ca)) as address:
        assert ask(address, server_ca_file=ca, **pair(pki.client)) == "here"
        refused(address)
        refused(address, server_ca_file=ca)
        refused(address, server_ca_file=ca, **pair(pki.strange))
        refused(address, server_ca_file=ca, **pair(pki.expired))
        assert ask(address, server_ca_file=ca, **pair(pki.client)) == "here"


@pytest.mark.parametrize(
    ("server", "message"),
    [("expired", "has expired"), ("strange", "no authority"), (None, "does not speak TLS")],
)
def test_a_wrong_server_is_not_spoken_to(pki, server, message):
    tls = TlsSettings(**pair(getattr(pki, server))) if server else TlsSettings()
    with serving(tls) as address:
        error = refused(address, server_ca_file=pki.authority.certificate)
    assert error.reason == "TLS_FAILED"
    assert message in error.message


def test_the_name_must_be_the_servers(pki):
    ca = pki.authority.certificate
    with serving(TlsSettings(**pair(pki.elsewhere))) as address:
        error = refused(address, server_ca_file=ca)
        assert error.reason == "TLS_FAILED"
        assert "UNITSCOPE_TLS_SERVER_NAME" in error.message
        assert ask(address, server_ca_file=ca, server_name="elsewhere") == "here"


def test_changed_files_are_used_for_new_connections(pki, tmp_path, caplog):
    for of, name in [(pki.server.certificate, "c"), (pki.server.key, "k"), (pki.authority.certificate, "a")]:
        shutil.copy(of, tmp_path / name)
    live = {"certificate_file": tmp_path / "c", "key_file": tmp_path / "k", "client_ca_file": tmp_path / "a"}
    before = {"server_ca_file": pki.authority.certificate, **pair(pki.client)}
    after = {"server_ca_file": pki.stranger.certificate, **pair(pki.strange)}
    with caplog.at_level(logging.INFO), serving(TlsSettings(**live)) as address:
        assert ask(address, **before) == "here"
        # Half of a change: certificate and key do not belong together, so the former stay.
        shutil.copy(pki.strange.certificate, tmp_path / "c")
        assert ask(address, **before) == "here"
        assert ask(address, **before) == "here"
        assert caplog.text.count("cannot be used; the former stay in use") == 1
        shutil.copy(pki.strange.key, tmp_path / "k")
        shutil.copy(pki.stranger.certificate, tmp_path / "a")
        assert ask(address, **after) == "here"
        refused(address, **before)
        assert "are in use from now on" in caplog.text
        (tmp_path / "k").unlink()
        assert ask(address, **after) == "here"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"certificate_file": "server"}, "UNITSCOPE_TLS_KEY_FILE is not"),
        ({"key_file": "server"}, "UNITSCOPE_TLS_CERTIFICATE_FILE is not"),
        ({"client_ca_file": "authority"}, "needs UNITSCOPE_TLS_CERTIFICATE_FILE"),
        ({"certificate_file": "server", "key_file": "client"}, "belong together"),
        ({"certificate_file": "text", "key_file": "server"}, "must be PEM"),
        ({"certificate_file": "server", "key_file": "encrypted"}, "not encrypted"),
        ({"certificate_file": "missing", "key_file": "server"}, "No such file"),
        (
            {"certificate_file": "server", "key_file": "server", "client_ca_file": "text"},
            "no PEM certificate",
        ),
    ],
)
def test_what_cannot_work_is_said_at_the_start(pki, tmp_path, settings, message):
    text = tmp_path / "text"
    text.write_text("no PEM")
    encrypted = tmp_path / "encrypted"
    encrypted.write_bytes(
        serialization.load_pem_private_key(pki.server.key.read_bytes(), None).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"password"),
        )
    )
    files = {"text": text, "missing": tmp_path / "missing", "encrypted": encrypted}

    def file(field, name):
        if name in files:
            return files[name]
        if field == "client_ca_file":
            return pki.authority.certificate
        return getattr(getattr(pki, name), "key" if field == "key_file" else "certificate")

    with pytest.raises(InvalidArgumentError, match=message) as caught:
        server_credentials(TlsSettings(**{field: file(field, name) for field, name in settings.items()}))
    assert caught.value.reason == "INVALID_TLS"
    assert "PRIVATE KEY" not in str(caught.value)


def test_a_client_with_a_certificate_does_not_fall_back_to_plaintext(pki):
    with pytest.raises(InvalidArgumentError, match="UNITSCOPE_TLS_SERVER_CA_FILE is not"):
        channel_credentials(TlsSettings(**pair(pki.client)))


def test_without_settings_there_is_no_tls():
    assert server_credentials(TlsSettings()) is None
    assert channel_credentials(TlsSettings()) is None
