"""The rules of the house (docs/architecture.md, CONTRIBUTING.md), each as a test."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from google.protobuf.descriptor import FieldDescriptor
from pydantic import BaseModel

from scripts import tables_page
from unitscope import tables
from unitscope.jobs import specs
from unitscope.jobs.convert import enum_prefix
from unitscope.v1 import analysis_spec_pb2
from workers.analyses import analysis_of

ROOT = Path(__file__).parents[1]
PACKAGES = ("unitscope", "services", "workers", "packs")
MODULE_LINES, FUNCTION_LINES = 450, 80

# Assembled, so that this file does not hold what it looks for.
FORBIDDEN_TEXT = [
    re.compile("/" + r"(root|work|tmp)/(?!\.)[a-z0-9_.-]+/"),
    re.compile(r"://(?!127\.0\.0\.1)[a-z0-9.-]*(pypi|pythonhosted|npmjs|debian)\.", re.I),
    re.compile("index" + r"[-_]url\s*=", re.I),
]


def own_modules(*packages: str) -> list[Path]:
    return [
        path
        for package in packages
        for path in sorted((ROOT / package).rglob("*.py"))
        if path.relative_to(ROOT).parts[:2] != ("unitscope", "v1")
    ]


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def tool(*command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    binaries = Path(sys.executable).parent
    return subprocess.run(
        [str(binaries / command[0]), *command[1:]],
        cwd=ROOT,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=240,
    )


def test_packages_import_each_other_only_as_the_contracts_allow() -> None:
    done = tool("lint-imports", "--no-cache")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"Contracts: [1-9]\d* kept, 0 broken", done.stdout), done.stdout


def test_modules_and_functions_are_short() -> None:
    long: list[str] = []
    for path in own_modules(*PACKAGES, "bench", "scripts", "tests"):
        name = path.relative_to(ROOT)
        lines = len(path.read_text(encoding="utf-8").splitlines())
        if lines > MODULE_LINES:
            long.append(f"{name} has {lines} lines")
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > FUNCTION_LINES:
                    long.append(f"{name}: {node.name} has {length} lines")
    assert not long


def _calls(path: Path) -> Iterator[tuple[ast.Call, str]]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call):
            yield node, ast.unparse(node.func)


def test_no_pickle_is_read() -> None:
    found: list[str] = []
    for path in own_modules(*PACKAGES, "bench"):
        name = path.relative_to(ROOT)
        for node in ast.walk(tree(path)):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            if {n.split(".")[0] for n in names} & {
                "pickle",
                "cPickle",
                "dill",
                "cloudpickle",
                "joblib",
                "shelve",
            }:
                found.append(f"{name}:{node.lineno} imports {names}")
        for call, function in _calls(path):
            keywords = {k.arg: ast.unparse(k.value) for k in call.keywords}
            if function == "torch.load" and keywords.get("weights_only") != "True":
                found.append(f"{name}:{call.lineno} torch.load without weights_only=True")
            if keywords.get("allow_pickle", "False") != "False":
                found.append(f"{name}:{call.lineno} allow_pickle")
    assert not found


def test_no_environment_is_read_at_import() -> None:
    found: list[str] = []
    for path in own_modules("unitscope", "services", "workers"):
        if path.name == "__main__.py":
            continue
        for statement in _at_import(tree(path)):
            for node in ast.walk(statement):
                text = ast.unparse(node) if isinstance(node, ast.Attribute | ast.Call) else ""
                if text.startswith(("os.environ", "os.getenv")) or re.match(r"\w*Settings\(", text):
                    found.append(f"{path.relative_to(ROOT)}:{statement.lineno} {text}")
    assert not found


def _at_import(module: ast.AST) -> Iterator[ast.stmt]:
    """Simple statements that run when the module is imported; functions run later."""
    for node in ast.iter_child_nodes(module):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        compound = ast.ClassDef | ast.If | ast.Try | ast.With | ast.For
        if isinstance(node, compound):
            yield from _at_import(node)
        elif isinstance(node, ast.stmt):
            yield node


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("unitscope", {"torch", "grpc", "celery"}),
        ("unitscope.client", {"torch", "celery", "services", "workers", "pandas"}),
        ("unitscope.cli", {"torch", "services", "workers"}),
        ("unitscope.jobs.planning", {"torch", "services", "workers"}),
        ("workers.tasks", {"torch", "services", "torchvision"}),
        ("services.gateway.__main__", {"torch", "workers"}),
        ("services.linker.__main__", {"torch", "workers"}),
    ],
)
def test_what_is_light_stays_light(module: str, heavy: set[str]) -> None:
    code = f"import sys, {module}; print(*sorted({{m.split('.')[0] for m in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert not heavy & set(done.stdout.split())


def test_workers_know_every_kind_of_analysis() -> None:
    for kind in specs.KINDS:
        analysis = analysis_of(kind)
        assert callable(analysis.run)
        assert callable(analysis.finalise)


def test_protos_pass_the_linter() -> None:
    done = tool("buf", "lint")
    assert done.returncode == 0, done.stdout + done.stderr


def test_stubs_are_those_of_the_protos(tmp_path: Path) -> None:
    done = subprocess.run(
        ["bash", "scripts/generate.sh", str(tmp_path)],
        cwd=ROOT,
        env={
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHON": sys.executable,
        },
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    fresh = sorted((tmp_path / "unitscope" / "v1").iterdir())
    committed = sorted((ROOT / "unitscope" / "v1").glob("*_pb2*.py*"))
    assert [p.name for p in fresh] == [p.name for p in committed]
    for new, old in zip(fresh, committed, strict=True):
        assert new.read_bytes() == old.read_bytes(), f"{old.name} is stale: run make generate"


@pytest.mark.parametrize("model", [specs.LinkSpec, specs.UnitSelection, specs.TraverseSpec])
def test_specs_have_the_fields_of_their_messages(model: type[BaseModel]) -> None:
    descriptor = analysis_spec_pb2.DESCRIPTOR.message_types_by_name[model.__name__]
    assert list(model.model_fields) == [field.name for field in descriptor.fields]
    for field in descriptor.fields:
        if field.type != FieldDescriptor.TYPE_ENUM:
            continue
        prefix = enum_prefix(field)
        values = {v.name.removeprefix(prefix).lower() for v in field.enum_type.values} - {"unspecified"}
        schema = model.model_json_schema()["properties"][field.name]
        assert set(schema["enum"]) == values, field.name


def test_every_kind_is_in_the_protos() -> None:
    message = analysis_spec_pb2.DESCRIPTOR.message_types_by_name["AnalysisSpec"]
    kinds = {field.name: field.message_type.name for field in message.oneofs_by_name["kind"].fields}
    assert kinds == {kind: cls.__name__ for kind, cls in specs.KINDS.items()}
    assert set(specs.SUMMARIES) == set(kinds)


def test_the_page_of_tables_is_that_of_the_code() -> None:
    assert tables_page.PAGE.read_text(encoding="utf-8") == tables_page.page(), "run make generate"
    for table in tables.TABLES:
        heading = f"{table.name} of {table.kind}" if table.kind else table.name
        assert f"## {heading}\n" in tables_page.page()


def tracked() -> list[Path]:
    done = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True
    )
    if done.returncode:
        pytest.skip("no git checkout")
    paths = (ROOT / name.decode() for name in done.stdout.split(b"\0") if name)
    return [path for path in paths if path.is_file()]


def test_no_file_names_a_registry_or_a_path_of_one_machine() -> None:
    found: list[str] = []
    for path in tracked():
        if path.suffix in {".safetensors", ".png", ".jpg", ".parquet"} or path.name == Path(__file__).name:
            continue
        # What is no text, e.g. a core dump that lies about, is looked through all the same.
        for number, line in enumerate(path.read_text("utf-8", errors="replace").splitlines(), 1):
            found += [
                f"{path.relative_to(ROOT)}:{number}: {line.strip()[:120]}"
                for pattern in FORBIDDEN_TEXT
                if pattern.search(line)
            ]
    assert not found


def test_models_stay_small_and_are_not_pickles() -> None:
    total = 0
    for path in (ROOT / "models").rglob("*"):
        if path.is_file():
            assert path.suffix in {".json", ".safetensors"}, path
            total += path.stat().st_size
    assert 0 < total < 45_000_000


def test_documents_link_to_files_that_exist() -> None:
    broken: list[str] = []
    for path in [p for p in tracked() if p.suffix == ".md"]:
        text = re.sub(r"(?s)```.*?```", "", path.read_text(encoding="utf-8"))
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
            if "://" not in target and not (path.parent / target).exists():
                broken.append(f"{path.relative_to(ROOT)} -> {target}")
    assert not broken
