"""Whether a server serves: ``python -m unitscope.rpc.probe HOST:PORT``, with exit code 0 or 1.

For probes of containers under TLS, which Kubernetes' own gRPC probes do not speak. Uses the settings
``UNITSCOPE_TLS_*`` of the program beside it, and needs no token.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from grpc_health.v1 import health_pb2, health_pb2_grpc

from unitscope.errors import UnitScopeError
from unitscope.rpc.channel import invoke, open_channel


def main(arguments: Sequence[str] | None = None) -> int:
    """Asks once; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m unitscope.rpc.probe",
        description="Says whether a gRPC server serves, over TLS where UNITSCOPE_TLS_SERVER_CA_FILE is set.",
        epilog="example: python -m unitscope.rpc.probe 127.0.0.1:7400",
    )
    parser.add_argument("address", metavar="HOST:PORT")
    parser.add_argument("--service", default="", help="ask for this service only, by its full name")
    parser.add_argument("--seconds", type=float, default=5.0, help="how long to wait (default: 5)")
    options = parser.parse_args(arguments)
    try:
        with open_channel(options.address) as channel:
            request = health_pb2.HealthCheckRequest(service=options.service)
            check = health_pb2_grpc.HealthStub(channel).Check
            answer = invoke(check, request, options.seconds, f"the server at {options.address}")
    except UnitScopeError as error:
        print(error.message, file=sys.stderr)
        return 1
    status = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
    print(status)
    return 0 if status == "SERVING" else 1


if __name__ == "__main__":
    sys.exit(main())
