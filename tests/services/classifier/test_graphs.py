from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.classifier.graphs import bottlenecks, needed


@st.composite
def graphs(draw: st.DrawFn) -> list[tuple[list[str], list[str]]]:
    """Steps that read earlier values; the first value is the images, "k" what no image decides."""
    edges = []
    for index in range(1, draw(st.integers(1, 9))):
        names = [*(str(k) for k in range(index)), "k"]
        edges.append(([str(index)], draw(st.lists(st.sampled_from(names), min_size=1, max_size=3))))
    return edges


def reaches(edges: list[tuple[list[str], list[str]]], without: str, target: str) -> bool:
    """Whether the target depends on the images when one value is held back."""
    found = {"0"}
    for outputs, inputs in edges:
        if found & set(inputs):
            found.update(name for name in outputs if name != without)
    return target in found


@given(graphs())
def test_a_bottleneck_is_what_no_path_goes_around(edges: list[tuple[list[str], list[str]]]) -> None:
    target = str(len(edges))
    found = bottlenecks(edges, "0", target)
    names = [name for outputs, _ in edges for name in outputs if name != target]
    expected = [
        name for name in names if reaches(edges, "", target) and not reaches(edges, name, target)
    ]  # fmt: skip
    assert found == expected


def test_of_a_residual_block_only_the_sum_is_one() -> None:
    edges = [(["a"], ["x"]), (["b"], ["a", "w"]), (["sum"], ["b", "a"]), (["y"], ["sum"])]
    assert bottlenecks(edges, "x", "y") == ["a", "sum"]
    assert bottlenecks(edges, "x", "w") == []


def test_the_steps_from_a_value_on() -> None:
    edges = [(["a"], ["x"]), (["b"], ["a", "w"]), (["sum"], ["b", "a"]), (["y"], ["sum"]), (["z"], ["a"])]
    assert needed(edges, "sum", "y") == [3]
    assert needed(edges, "a", "y") == [1, 2, 3]
