"""What a pickle speaks of, as records: names of classes and functions, and calls that are not made."""

from __future__ import annotations

import dataclasses
from typing import Any

from services.generator.importing.limits import refuse

_FORBIDDEN_MODULES = """
os posix nt subprocess shutil socket ssl runpy pty commands importlib imp ctypes _ctypes code codeop
multiprocessing webbrowser urllib http ftplib smtplib telnetlib requests pip ensurepip venv
pickle _pickle cPickle cloudpickle joblib shelve marshal zipimport bdb pdb cProfile timeit trace
signal resource tempfile linecache antigravity
"""
_FORBIDDEN_BUILTINS = "eval exec execfile compile open input raw_input breakpoint __import__"
_FORBIDDEN_NAMES = """
torch.load torch.jit.load torch.serialization.load torch.hub.load torch.package.PackageImporter
torch.utils.cpp_extension.load torch.utils.cpp_extension.load_inline numpy.load numpy.memmap
dill.load dill.loads dill._dill.load dill._dill.loads dill._dill._eval_repr
numpy.testing._private.utils.runstring io.open _io.open io.FileIO _io.FileIO
pandas.read_pickle pydoc.pipepager asyncio.create_subprocess_shell
"""
_MODULES = frozenset(_FORBIDDEN_MODULES.split())
_NAMES = frozenset(_FORBIDDEN_NAMES.split()) | frozenset(
    f"{module}.{name}" for module in ("builtins", "__builtin__") for name in _FORBIDDEN_BUILTINS.split()
)
_LAST = frozenset({"system", "popen", "execv", "execve", "execvp", "spawnl", "spawnv", "load_module"})


@dataclasses.dataclass(frozen=True, slots=True)
class Global:
    """A class or a function by name; never imported."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclasses.dataclass(slots=True, eq=False, repr=False)
class Record:
    """An object of an unknown kind: how it would have been made, and what it would have been given.

    Attributes:
        made: The instruction: REDUCE, NEWOBJ or NEWOBJ_EX; or SET, KEY (of a dictionary) or PERSISTENT
            (an object outside the pickle).
        callee: What would have been called: a name, or again a record.
        args: Positional arguments.
        states: What BUILD would have handed over, in order.
        items: Entries that would have been set.
        elements: Elements that would have been appended.
    """

    made: str
    callee: Global | Record | None
    args: Any = ()
    states: list[Any] = dataclasses.field(default_factory=list)
    items: dict[Any, Any] = dataclasses.field(default_factory=dict)
    elements: list[Any] = dataclasses.field(default_factory=list)

    @property
    def what(self) -> str:
        """The name of what would have been called."""
        return str(self.callee) if isinstance(self.callee, Global) else "the result of a call"


def checked_global(module: Any, name: Any, position: int) -> Global:
    """A name, unless a checkpoint can have no honest use for it.

    The list makes refusals plain and early; safety does not rest on it, since no name is ever imported.

    Raises:
        InvalidArgumentError: reason FORBIDDEN_GLOBAL or, for what is no name, MALFORMED_PICKLE.
    """
    if not isinstance(module, str) or not isinstance(name, str):
        raise refuse("MALFORMED_PICKLE", f"the name at byte {position} is made of something else than text")
    found = Global(module, name)
    parts = f"{module}.{name}".split(".")
    forbidden = parts[0] in _MODULES or f"{module}.{name}" in _NAMES or parts[-1] in _LAST
    # A dotted name reaches through the attributes of an innocent module: torch.serialization + os.system.
    if forbidden or not _MODULES.isdisjoint(name.split(".")[:-1]):
        raise refuse(
            "FORBIDDEN_GLOBAL",
            f"the file asks for {module[:60]}.{name[:60]} at byte {position}; no checkpoint needs that, and "
            "the file may be an attack. Nothing was run; delete it and fetch the original",
            position=position,
        )
    return found


def named(value: Any, *names: str) -> bool:
    """Whether a value is a class or function of one of these dotted names."""
    return isinstance(value, Global) and str(value) in names


def called(value: Any, *names: str) -> bool:
    """Whether a value is the record of a call of one of these."""
    return isinstance(value, Record) and named(value.callee, *names)


def described(value: Any) -> str:
    """A value in a few words, for messages; never walks into it."""
    if isinstance(value, Record):
        built = " and BUILD" if value.states else ""
        return f"an object of {value.what[:120]} (by {value.made}{built})"
    if isinstance(value, Global):
        return f"the name {str(value)[:120]}"
    if isinstance(value, str):
        return f"the text {value[:60]!r}"
    if value is None or isinstance(value, bool | float):
        return repr(value)
    if isinstance(value, int):
        return f"the number {value:.6g}" if abs(value) < 1 << 60 else "a very large number"
    return f"a {type(value).__name__}"
