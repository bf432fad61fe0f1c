"""Models pushed into a store and pulled from it: verified, in place at once, never half."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.support.tiny_pack import GENERATOR, PARTS_MODEL, write_tiny_pack
from unitscope.cli.app import app
from unitscope.errors import DataLossError, InvalidArgumentError, NotFoundError
from unitscope.models.cards import CARD_FILE, WEIGHTS_FILE, ModelCard
from unitscope.models.exchange import pull, push
from unitscope.models.registry import Registry
from unitscope.store import ObjectStore
from unitscope.store.directory import DirectoryStore


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_pack(tmp_path_factory.mktemp("models"))


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return DirectoryStore(tmp_path / "store")


def _another(pack: Path, folder: Path) -> ModelCard:
    """A registry with another generator of the same name."""
    shutil.copytree(pack, folder)
    card = Registry(folder).resolve(GENERATOR)
    other = card.model_copy(update={"classes": tuple(f"other {name}" for name in card.classes)})
    other.save(folder / GENERATOR)
    assert other.digest != card.digest
    return other


def test_what_was_pushed_is_what_is_pulled(pack: Path, store: ObjectStore, tmp_path: Path) -> None:
    card, new = push(store, Registry(pack), GENERATOR)
    assert new
    assert push(store, Registry(pack), f"{GENERATOR}@sha256:{card.digest}") == (card, False)
    root = tmp_path / "pulled"
    assert pull(store, GENERATOR, root) == (card, True)
    pulled = Registry(root)
    assert [found.digest for found in pulled.cards()] == [card.digest]
    pulled.verified(pulled.resolve(GENERATOR))
    assert [path.name for path in root.iterdir()] == [GENERATOR.split("/")[0]]  # no scratch is left
    assert pull(store, GENERATOR, root) == (card, False)


def test_a_damaged_model_is_fetched_again(pack: Path, store: ObjectStore, tmp_path: Path) -> None:
    card, _ = push(store, Registry(pack), GENERATOR)
    pull(store, GENERATOR, tmp_path)
    (tmp_path / GENERATOR / WEIGHTS_FILE).write_bytes(b"damaged")
    assert pull(store, GENERATOR, tmp_path) == (card, True)
    Registry(tmp_path).verified(card)


def test_of_several_one_must_be_named(pack: Path, store: ObjectStore, tmp_path: Path) -> None:
    card, _ = push(store, Registry(pack), GENERATOR)
    other = _another(pack, tmp_path / "other")
    push(store, Registry(tmp_path / "other"), GENERATOR)
    with pytest.raises(InvalidArgumentError, match=r"2 models.*@sha256:") as caught:
        pull(store, GENERATOR, tmp_path / "pulled")
    assert caught.value.reason == "AMBIGUOUS_MODEL"
    for wanted in (card, other):
        pull(store, f"{GENERATOR}@sha256:{wanted.short_digest}", tmp_path / "pulled")
        assert Registry(tmp_path / "pulled").resolve(GENERATOR).digest == wanted.digest


@pytest.mark.parametrize("file", [WEIGHTS_FILE, CARD_FILE])
def test_other_bytes_take_no_place(pack: Path, store: ObjectStore, tmp_path: Path, file: str) -> None:
    card, _ = push(store, Registry(pack), GENERATOR)
    before, _ = pull(store, GENERATOR, tmp_path)
    key = f"models/{GENERATOR}/{card.digest}/{file}"
    wrong = store.get(key)
    if file == CARD_FILE:
        wrong = json.dumps({**json.loads(wrong), "classes": ["evil"]}).encode()
    store.put(key, wrong[:-1] + bytes([wrong[-1] ^ 1]) if file == WEIGHTS_FILE else wrong)
    (tmp_path / GENERATOR / WEIGHTS_FILE).write_bytes(b"damaged")
    with pytest.raises(DataLossError, match=file):
        pull(store, GENERATOR, tmp_path)
    assert Registry(tmp_path).resolve(GENERATOR) == before
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_card_cannot_name_files_elsewhere(pack: Path, store: ObjectStore, tmp_path: Path) -> None:
    card = Registry(pack).resolve(GENERATOR)
    entry = card.files[WEIGHTS_FILE].model_dump()
    evil = ModelCard.model_validate({**card.model_dump(), "files": {"../../escaped": entry}})
    store.create(f"models/{GENERATOR}/{evil.digest}/card.json", evil.model_dump_json().encode())
    with pytest.raises(DataLossError, match="names a file"):
        pull(store, GENERATOR, tmp_path / "pulled")
    assert not list(tmp_path.rglob("escaped*"))


def test_what_was_not_finished_is_not_there(pack: Path, store: ObjectStore, tmp_path: Path) -> None:
    card = Registry(pack).resolve(GENERATOR)
    store.create(f"models/{GENERATOR}/{card.digest}/{WEIGHTS_FILE}", b"the card is missing")
    with pytest.raises(NotFoundError, match="unitscope models push"):
        pull(store, GENERATOR, tmp_path / "pulled")
    with pytest.raises(DataLossError, match="another"):
        push(store, Registry(pack), GENERATOR)


def _run(*arguments: str, store: Path | None) -> Result:
    environment = {"UNITSCOPE_STORE_URL": f"directory:{store}" if store else None}
    return CliRunner().invoke(app, ["models", *arguments], env=environment)


def test_the_commands(pack: Path, tmp_path: Path) -> None:
    names = tmp_path / "models.txt"
    names.write_text(f"# what the lab looks at\n{GENERATOR}\n\n{PARTS_MODEL}  # its parts\n")
    done = _run("push", "--list", str(names), "--models", str(pack), store=tmp_path / "store")
    assert done.exit_code == 0, done.output
    assert done.stdout.count("pushed") == 2
    sync = ("sync", GENERATOR, "--list", str(names), "--models", str(tmp_path / "pulled"))
    done = _run(*sync, store=tmp_path / "store")
    assert [line.split()[-1] for line in done.stdout.splitlines()] == ["fetched", "verified", "fetched"]
    assert {card.name for card in Registry(tmp_path / "pulled").cards()} == {GENERATOR, PARTS_MODEL}


def test_the_commands_say_what_is_missing(pack: Path, tmp_path: Path) -> None:
    done = _run("sync", store=tmp_path)
    assert (done.exit_code, "no model is named" in done.stderr) == (2, True)
    done = _run("push", GENERATOR, "--models", str(pack), store=None)
    assert done.exit_code != 0
    assert "UNITSCOPE_STORE_URL" in done.stderr
    done = _run("sync", "--list", str(tmp_path / "none"), store=tmp_path)
    assert "cannot be read" in done.stderr
