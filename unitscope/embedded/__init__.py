"""The embedded stack: every service, the generator and a worker as supervised local processes.

::

    from unitscope.embedded import Embedded

    with Embedded(".unitscope") as stack:
        job = stack.client().submit("traverse", {...})

Nothing here imports a service: they are programs, started by name. The supervisor restarts what dies
and, even when it is itself killed, leaves no process behind (see `unitscope.embedded.guardian`).
"""

from unitscope.embedded.home import Endpoints, find, models_root
from unitscope.embedded.stack import Embedded
from unitscope.embedded.supervised import ServiceState

__all__ = ["Embedded", "Endpoints", "ServiceState", "find", "models_root"]
