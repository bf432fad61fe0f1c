import pytest
from hypothesis import given
from hypothesis import strategies as st

from unitscope.errors import InvalidArgumentError
from unitscope.jobs.convert import spec_from_proto, spec_to_proto
from unitscope.jobs.specs import (
    CounterfactualSpec,
    LinkSpec,
    Perturbation,
    QuantifySpec,
    TraverseSpec,
    UnitGroup,
    UnitSelection,
    parse_spec,
)
from unitscope.v1 import analysis_spec_pb2

LINK = {"classifier": "tiny/classifier", "generator": "tiny/generator"}

links = st.builds(
    LinkSpec,
    classifier=st.sampled_from(["a/b", "c/d@sha256:" + "0" * 12]),
    generator=st.just("tiny/generator"),
    classes=st.lists(st.sampled_from("abc"), max_size=3).map(tuple),
    truncation=st.floats(0, 1),
    samples_per_class=st.integers(10, 100_000),
    penalties=st.lists(st.floats(1e-9, 1e6), min_size=1, max_size=5).map(tuple),
    accept=st.sampled_from(["class", "any"]),
    seed=st.integers(0, 2**31 - 1),
)
traversals = st.builds(
    TraverseSpec,
    link=links,
    units=st.builds(
        UnitSelection,
        indices=st.lists(st.integers(0, 8000), max_size=4).map(tuple),
        by=st.sampled_from(["range", "weight"]),
    ),
    low_quantile=st.floats(0, 0.4),
    high_quantile=st.floats(0.5, 1),
    keep=st.sampled_from(["all", "sample", "none"]),
)
elsewhere = st.builds(
    TraverseSpec,
    linker=st.just("0" * 12),
    render_with=st.sampled_from(["", "tiny/grown", "tiny/grown@sha256:" + "1" * 12]),
)
quantifications = st.builds(
    QuantifySpec,
    link=links,
    units=st.lists(st.integers(0, 8000), max_size=4).map(tuple),
    groups=st.lists(
        st.builds(UnitGroup, name=st.sampled_from("abc"), units=st.just((1, 2))),
        max_size=3,
        unique_by=lambda group: group.name,
    ).map(tuple),
    perturbation=st.builds(
        Perturbation, by=st.sampled_from(["range", "quantiles", "deviations"]), deviations=st.floats(0.1, 5)
    ),
    start=st.sampled_from(["own", "linked"]),
    keep=st.sampled_from(["all", "sample", "none"]),
)
names = st.lists(st.sampled_from(["bun", "cap", "no such class"]), max_size=3, unique=True).map(tuple)
limits = {
    "parts": st.sampled_from(["", "tiny/parts"]),
    "norm": st.sampled_from(["l2", "l1"]),
    "plausibility": st.floats(0, 100),
    "seeds": st.integers(1, 10_000),
    "frames": st.integers(2, 51),
    "top": st.integers(1, 100),
    "max_steps": st.integers(1, 2_000),
    "keep": st.sampled_from(["all", "sample", "none"]),
    "seed": st.integers(0, 2**31 - 1),
}
ways = {"method": st.sampled_from(["path", "descent"]), "start": st.sampled_from(["own", "linked"])}
counterfactuals = st.one_of(
    st.builds(CounterfactualSpec, link=links, origins=names, targets=names, **limits, **ways),
    st.builds(CounterfactualSpec, link=links, method=ways["method"], runner_up=st.just(True), **limits),
    st.builds(
        CounterfactualSpec,
        linker=st.just("0" * 12),
        render_with=st.sampled_from(["", "tiny/grown"]),
        image_folder=st.just("own-0123456789ab"),
        targets=names,
        **limits,
        **ways,
    ),
)


@given(st.one_of(links, traversals, elsewhere, quantifications, counterfactuals))
def test_specs_survive_the_wire(spec):
    wire = spec_to_proto(spec).SerializeToString()
    assert spec_from_proto(analysis_spec_pb2.AnalysisSpec.FromString(wire)) == spec


def test_unset_fields_take_the_defaults():
    message = analysis_spec_pb2.AnalysisSpec(link=analysis_spec_pb2.LinkSpec(**LINK))
    spec = spec_from_proto(message)
    assert spec == LinkSpec(**LINK)
    assert spec.truncation == 0.7


def test_zero_is_a_value_and_no_default():
    message = analysis_spec_pb2.AnalysisSpec(link=analysis_spec_pb2.LinkSpec(**LINK, truncation=0, seed=0))
    assert spec_from_proto(message).truncation == 0


@pytest.mark.parametrize(
    ("method", "start", "means"),
    [
        ("", "", "own"),
        ("path", "", "own"),
        ("descent", "", "linked"),
        ("descent", "own", "own"),
        ("path", "linked", "linked"),
    ],
)
def test_an_unset_start_is_that_of_the_method(method, start, means):
    given_values = {name: value for name, value in (("method", method), ("start", start)) if value}
    spec = parse_spec("counterfactual", {"link": LINK, **given_values})
    assert spec.start == means
    message = analysis_spec_pb2.AnalysisSpec()
    message.counterfactual.link.SetInParent()
    message.counterfactual.link.MergeFrom(analysis_spec_pb2.LinkSpec(**LINK))
    message.counterfactual.method = f"SEARCH_METHOD_{method.upper() or 'UNSPECIFIED'}"
    message.counterfactual.start = f"START_{start.upper() or 'UNSPECIFIED'}"
    assert spec_from_proto(message) == spec
    assert spec_from_proto(spec_to_proto(spec)) == spec


def test_a_plausibility_of_zero_is_a_value():
    message = spec_to_proto(CounterfactualSpec(link=LinkSpec(**LINK), plausibility=0, seed=0))
    assert (spec_from_proto(message).plausibility, spec_from_proto(message).seed) == (0, 0)


C = {"link": LINK}


@pytest.mark.parametrize(
    ("kind", "values", "field", "says"),
    [
        ("link", {**LINK, "truncation": 1.5}, "spec.link.truncation", "1.5"),
        ("link", {**LINK, "truncation": float("nan")}, "spec.link.truncation", "nan"),
        ("link", {**LINK, "samples_per_class": 0}, "spec.link.samples_per_class", "10"),
        ("link", {**LINK, "colour": "red"}, "spec.link.colour", "no field"),
        ("link", {"classifier": "a/b"}, "spec.link.generator", "required"),
        ("traverse", {"link": LINK, "seeds_per_class": 0}, "spec.traverse.seeds_per_class", "0"),
        ("traverse", {"link": LINK, "units": {"indices": range(100_000)}}, "spec.traverse.units", "8192"),
        ("traverse", {"link": LINK, "units": {"indices": [-1]}}, "spec.traverse.units.indices", "-1"),
        ("traverse", {"link": LINK, "linker": "ab" * 8}, "spec.traverse", "either"),
        ("traverse", {}, "spec.traverse", "either"),
        ("traverse", {"link": LINK, "low_quantile": 0.9, "high_quantile": 0.1}, "spec.traverse", "below"),
        ("counterfactual", {**C, "runner_up": True, "targets": ["a"]}, "spec.counterfactual", "'runner_up'"),
        ("counterfactual", {**C, "image_folder": "f", "origins": ["a"]}, "spec.counterfactual", "origins"),
        ("counterfactual", {**C, "origins": ["a", "b", "a"]}, "spec.counterfactual", "origins names a class"),
        (
            "counterfactual",
            {**C, "targets": ["a", "a"]},
            "spec.counterfactual",
            "targets names a class twice",
        ),
        ("counterfactual", {**C, "targets": [""]}, "spec.counterfactual.targets.0", "1"),
        ("counterfactual", {**C, "frames": 1}, "spec.counterfactual.frames", "2"),
        ("counterfactual", {**C, "frames": 52}, "spec.counterfactual.frames", "51"),
        ("counterfactual", {**C, "max_steps": 2_001}, "spec.counterfactual.max_steps", "2000"),
        ("counterfactual", {**C, "seeds": 0}, "spec.counterfactual.seeds", "0"),
        ("counterfactual", {**C, "plausibility": -1}, "spec.counterfactual.plausibility", "-1"),
        ("counterfactual", {**C, "plausibility": float("inf")}, "spec.counterfactual.plausibility", "inf"),
        ("counterfactual", {**C, "method": "dream"}, "spec.counterfactual.method", "dream"),
        ("counterfactual", {**C, "image_folder": "../x"}, "spec.counterfactual.image_folder", "../x"),
        ("counterfactual", {**C, "render_with": "a/b"}, "spec.counterfactual", "render_with"),
        ("counterfactual", {}, "spec.counterfactual", "either"),
        ("dream", {}, "spec.kind", "dream"),
    ],
)
def test_what_is_wrong_is_named_with_its_value(kind, values, field, says):
    with pytest.raises(InvalidArgumentError) as caught:
        parse_spec(kind, {k: list(v) if isinstance(v, range) else v for k, v in values.items()})
    fields = [name for name, _ in caught.value.violations]
    assert any(name.startswith(field) for name in fields), fields
    assert says in str(caught.value)


def test_unknown_fields_on_the_wire_are_refused():
    later = bytes.fromhex("fa3e0161")  # field 1007, length-delimited, "a"
    message = analysis_spec_pb2.AnalysisSpec(link=analysis_spec_pb2.LinkSpec(**LINK))
    inner = analysis_spec_pb2.LinkSpec.FromString(message.link.SerializeToString() + later)
    with pytest.raises(InvalidArgumentError, match="1007") as caught:
        spec_from_proto(analysis_spec_pb2.AnalysisSpec(link=inner))
    assert caught.value.reason == "UNKNOWN_FIELD"


def test_an_empty_spec_is_refused():
    with pytest.raises(InvalidArgumentError, match="empty"):
        spec_from_proto(analysis_spec_pb2.AnalysisSpec())
