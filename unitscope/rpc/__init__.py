"""gRPC on both sides: servers with health, reflection, Info and our errors; channels with deadlines."""

from unitscope.rpc.channel import invoke, open_channel
from unitscope.rpc.server import Server, ServiceEntry

__all__ = ["Server", "ServiceEntry", "invoke", "open_channel"]
