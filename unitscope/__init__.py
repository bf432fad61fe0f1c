"""UnitScope: see, measure and audit what the units of an image classifier have learned.

``unitscope.Client`` and what it takes and answers with can be imported from here; they are loaded when
first asked for, so that importing ``unitscope`` itself costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from unitscope.client import Client, JobHandle, JobState, JobStatus, Result
    from unitscope.jobs.specs import LinkSpec, TraverseSpec, UnitSelection

_HOMES = {
    "Client": "unitscope.client",
    "JobHandle": "unitscope.client",
    "JobState": "unitscope.client",
    "JobStatus": "unitscope.client",
    "Result": "unitscope.client",
    "LinkSpec": "unitscope.jobs.specs",
    "TraverseSpec": "unitscope.jobs.specs",
    "UnitSelection": "unitscope.jobs.specs",
}

__all__ = [
    "Client",
    "JobHandle",
    "JobState",
    "JobStatus",
    "LinkSpec",
    "Result",
    "TraverseSpec",
    "UnitSelection",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'unitscope' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
