from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.signals.scraped import Family
from tests.support.collector import Collector
from unitscope.errors import NotFoundError
from unitscope.settings import StoreSettings
from unitscope.signals import traces
from unitscope.store import ObjectStore, open_store
from unitscope.store.directory import DirectoryStore
from unitscope.store.observed import ObservedStore

Begin = Callable[[str], Callable[[], dict[str, Family]]]


def opened(folder: Path) -> ObjectStore:
    return open_store(StoreSettings(url=f"directory:{folder}"))


def test_operations_are_counted_by_how_they_end(metered: Begin, tmp_path: Path) -> None:
    scrape = metered("linker")
    store = opened(tmp_path)
    assert store.create("a/b", b"1")
    assert not store.create("a/b", b"2")
    store.put("a/c", b"3")
    with pytest.raises(NotFoundError):
        store.get("a/d")
    with pytest.raises(NotFoundError):
        list(store.stream("a/d"))
    assert b"".join(store.stream("a/b")) == store.get("a/b") == b"1"
    assert store.children("a/") == ["b", "c"]
    assert [info.key for info in store.objects("a/")] == ["a/b", "a/c"]
    store.delete("a/c")
    assert store.stat("a/c") is None
    found = scrape()
    counts = {
        (dict(labels)["operation"], dict(labels)["outcome"]): value
        for labels, value in found["unitscope_store_operations_total"].samples.items()
    }
    assert counts == {
        ("create", "OK"): 1,
        ("create", "TAKEN"): 1,
        ("put", "OK"): 1,
        ("get", "OK"): 1,
        ("get", "NOT_FOUND"): 1,
        ("stream", "OK"): 1,
        ("stream", "NOT_FOUND"): 1,
        ("children", "OK"): 1,
        ("objects", "OK"): 1,
        ("delete", "OK"): 1,
        ("stat", "OK"): 1,
    }
    assert found["unitscope_store_seconds"].value(operation="get") == 2


def test_an_observed_store_does_all_that_a_store_does(tmp_path: Path) -> None:
    store = ObservedStore(DirectoryStore(tmp_path))
    assert isinstance(store, ObjectStore)
    store.put("a", b"1")
    assert store.local_path("a") == DirectoryStore(tmp_path).local_path("a")
    assert store.link("a", 60) is None


def test_nothing_is_observed_unless_asked_for(tmp_path: Path) -> None:
    assert isinstance(opened(tmp_path), DirectoryStore)


def test_operations_are_spans_within_a_trace_and_only_there(collector: Collector, tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.put("a", b"1")
    with traces.span("chunk"):
        store.get("a")
        with pytest.raises(NotFoundError):
            store.get("b")
    traces.end()
    assert sorted((span.name, span.failed) for span in collector.spans) == [
        ("chunk", False),
        ("store get", False),
        ("store get", False),
    ]
