"""Who calls: the interceptor over real channels, and the client's side of it."""

import threading

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from unitscope.errors import FailedPreconditionError, InvalidArgumentError, UnauthenticatedError
from unitscope.rpc import Server, ServiceEntry, invoke, open_channel
from unitscope.rpc.access import ANYONE, Principal, acting_as, current_principal
from unitscope.rpc.bearer import token_source
from unitscope.rpc.channel import stream
from unitscope.rpc.tokens import TokenFile, create_token
from unitscope.settings import ClientSettings, ServerSettings, TlsSettings
from unitscope.v1 import info_pb2, info_pb2_grpc

SERVICE = "test.Echo"
SECONDS = 60.0
"""For calls that are answered at once, on a machine that may be busy."""


def who():
    return current_principal().name.encode()


class Echo:
    """Says who calls, in all four shapes of a method."""

    def __init__(self):
        self.read = 0
        self.closed = threading.Event()

    def add(self, server):
        def count(requests):
            for _ in requests:
                self.read += 1
            return who()

        def three(request, context):
            try:
                for _ in range(3):
                    yield who()
            finally:
                self.closed.set()

        handlers = {
            "Unary": grpc.unary_unary_rpc_method_handler(lambda request, context: who()),
            "Stream": grpc.unary_stream_rpc_method_handler(three),
            "Collect": grpc.stream_unary_rpc_method_handler(lambda requests, context: count(requests)),
            "Both": grpc.stream_stream_rpc_method_handler(
                lambda requests, context: (who() for _ in requests)
            ),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))


class Running:
    def __init__(self, folder):
        made = {name: create_token(name, project) for name, project in [("alice", "lab"), ("bob", "other")]}
        self.tokens = {name: token for name, (token, _) in made.items()}
        path = folder / "tokens"
        path.write_text("".join(f"{entry.to_line()}\n" for _, entry in made.values()))
        self.echo = Echo()
        settings = ServerSettings(listen="127.0.0.1:0", drain_seconds=0, threads=2)
        entry = ServiceEntry(SERVICE, self.echo.add)
        self.server = Server(
            "echo", 0, [entry], info_pb2.GetInfoResponse, settings, tokens=TokenFile(path), tls=TlsSettings()
        )
        self.address = self.server.start()

    def channel(self, name=None):
        return open_channel(
            self.address, tls=TlsSettings(), token=(lambda: self.tokens[name]) if name else None
        )


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    running = Running(tmp_path_factory.mktemp("access"))
    yield running
    running.server.stop()


def calls(channel):
    """The four shapes, as functions that return all responses."""
    path = f"/{SERVICE}/"
    return {
        "Unary": lambda: [invoke(channel.unary_unary(path + "Unary"), b"", SECONDS)],
        "Stream": lambda: list(stream(channel.unary_stream(path + "Stream"), b"", SECONDS)),
        "Collect": lambda: [invoke(channel.stream_unary(path + "Collect"), iter([b"", b""]), SECONDS)],
        "Both": lambda: list(stream(channel.stream_stream(path + "Both"), iter([b"", b""]), SECONDS)),
    }


@pytest.mark.parametrize(("shape", "answers"), [("Unary", 1), ("Stream", 3), ("Collect", 1), ("Both", 2)])
def test_each_call_knows_its_caller(running, shape, answers):
    for _ in range(3):
        # Two threads serve all: one that answered alice answers bob next.
        for name in ("alice", "bob"):
            with running.channel(name) as channel:
                assert calls(channel)[shape]() == [name.encode()] * answers


@pytest.mark.parametrize("shape", ["Unary", "Stream", "Collect", "Both"])
def test_without_a_token_no_shape_of_method_answers(running, shape):
    before = running.echo.read
    with running.channel() as channel, pytest.raises(UnauthenticatedError) as caught:
        calls(channel)[shape]()
    assert caught.value.reason == "TOKEN_MISSING"
    assert running.echo.read == before


def test_a_caller_who_hangs_up_ends_the_method(running):
    with running.channel("alice") as channel:
        running.echo.closed.clear()
        answers = stream(channel.unary_stream(f"/{SERVICE}/Stream"), b"", SECONDS)
        assert next(answers) == b"alice"
        answers.close()
        assert running.echo.closed.wait(60)


def test_two_tokens_are_none(running):
    with open_channel(running.address, tls=TlsSettings()) as channel:
        metadata = [("authorization", f"Bearer {token}") for token in running.tokens.values()]
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary(f"/{SERVICE}/Unary")(b"", metadata=metadata, timeout=SECONDS)
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_methods_that_do_not_exist_do_not_tell(running):
    with running.channel() as channel, pytest.raises(UnauthenticatedError):
        invoke(channel.unary_unary(f"/{SERVICE}/Nothing"), b"", SECONDS)
    with running.channel("alice") as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(f"/{SERVICE}/Nothing")(b"", timeout=SECONDS)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_health_is_open_and_info_is_not(running):
    with running.channel() as channel:
        answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=SECONDS)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(UnauthenticatedError):
            invoke(info_pb2_grpc.InfoServiceStub(channel).GetInfo, info_pb2.GetInfoRequest(), SECONDS)


def test_principals_nest_and_end():
    assert current_principal() == ANYONE == Principal("default", "")
    with acting_as(Principal("lab", "alice")):
        with acting_as(Principal("lab", "bob")):
            assert current_principal().name == "bob"
        assert current_principal().name == "alice"
    assert current_principal() == ANYONE


@pytest.mark.parametrize("address", ["127.0.0.1:7400", "localhost:7400", "[::1]:7400"])
def test_a_token_may_stay_on_the_machine_in_plaintext(address):
    source = token_source(address, ClientSettings(token="ust_abc"), TlsSettings())
    assert source is not None
    assert source() == "ust_abc"


def test_a_token_does_not_go_to_another_machine_in_plaintext(tmp_path):
    settings = ClientSettings(token="ust_abc")
    with pytest.raises(FailedPreconditionError, match="UNITSCOPE_TLS_SERVER_CA_FILE") as caught:
        token_source("gateway:7400", settings, TlsSettings())
    assert caught.value.reason == "PLAINTEXT_TOKEN"
    assert "ust_abc" not in str(caught.value)
    assert token_source("gateway:7400", settings, TlsSettings(server_ca_file=tmp_path / "ca"))
    told = ClientSettings(token="ust_abc", plaintext_token=True)
    assert token_source("gateway:7400", told, TlsSettings())


def test_the_file_wins_and_is_read_again(tmp_path):
    file = tmp_path / "token"
    file.write_text("ust_first\n")
    settings = ClientSettings(token="ust_abc", token_file=file)
    source = token_source("127.0.0.1:1", settings, TlsSettings())
    assert source is not None
    assert source() == "ust_first"
    file.write_text("ust_second, longer")
    with pytest.raises(InvalidArgumentError, match="one word") as caught:
        source()
    assert "ust_second" not in str(caught.value)
    file.write_text("ust_third")
    assert source() == "ust_third"
    assert "ust_" not in repr(settings)


@pytest.mark.parametrize("content", [None, b"", b"two words", b"\xff\xfe", b"x" * 600])
def test_what_is_no_token_is_refused_at_once(tmp_path, content):
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(InvalidArgumentError) as caught:
        token_source("127.0.0.1:1", ClientSettings(token_file=file), TlsSettings())
    assert caught.value.reason == "INVALID_TOKEN"
