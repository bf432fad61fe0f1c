from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Accept(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ACCEPT_UNSPECIFIED: _ClassVar[Accept]
    ACCEPT_CLASS: _ClassVar[Accept]
    ACCEPT_ANY: _ClassVar[Accept]

class RankUnitsBy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RANK_UNITS_BY_UNSPECIFIED: _ClassVar[RankUnitsBy]
    RANK_UNITS_BY_RANGE: _ClassVar[RankUnitsBy]
    RANK_UNITS_BY_WEIGHT: _ClassVar[RankUnitsBy]

class Keep(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    KEEP_UNSPECIFIED: _ClassVar[Keep]
    KEEP_ALL: _ClassVar[Keep]
    KEEP_SAMPLE: _ClassVar[Keep]
    KEEP_NONE: _ClassVar[Keep]

class PerturbBy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PERTURB_BY_UNSPECIFIED: _ClassVar[PerturbBy]
    PERTURB_BY_RANGE: _ClassVar[PerturbBy]
    PERTURB_BY_QUANTILES: _ClassVar[PerturbBy]
    PERTURB_BY_DEVIATIONS: _ClassVar[PerturbBy]

class Start(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    START_UNSPECIFIED: _ClassVar[Start]
    START_OWN: _ClassVar[Start]
    START_LINKED: _ClassVar[Start]

class SearchMethod(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SEARCH_METHOD_UNSPECIFIED: _ClassVar[SearchMethod]
    SEARCH_METHOD_PATH: _ClassVar[SearchMethod]
    SEARCH_METHOD_DESCENT: _ClassVar[SearchMethod]

class Norm(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NORM_UNSPECIFIED: _ClassVar[Norm]
    NORM_L2: _ClassVar[Norm]
    NORM_L1: _ClassVar[Norm]
ACCEPT_UNSPECIFIED: Accept
ACCEPT_CLASS: Accept
ACCEPT_ANY: Accept
RANK_UNITS_BY_UNSPECIFIED: RankUnitsBy
RANK_UNITS_BY_RANGE: RankUnitsBy
RANK_UNITS_BY_WEIGHT: RankUnitsBy
KEEP_UNSPECIFIED: Keep
KEEP_ALL: Keep
KEEP_SAMPLE: Keep
KEEP_NONE: Keep
PERTURB_BY_UNSPECIFIED: PerturbBy
PERTURB_BY_RANGE: PerturbBy
PERTURB_BY_QUANTILES: PerturbBy
PERTURB_BY_DEVIATIONS: PerturbBy
START_UNSPECIFIED: Start
START_OWN: Start
START_LINKED: Start
SEARCH_METHOD_UNSPECIFIED: SearchMethod
SEARCH_METHOD_PATH: SearchMethod
SEARCH_METHOD_DESCENT: SearchMethod
NORM_UNSPECIFIED: Norm
NORM_L2: Norm
NORM_L1: Norm

class AnalysisSpec(_message.Message):
    __slots__ = ("link", "traverse", "quantify", "counterfactual")
    LINK_FIELD_NUMBER: _ClassVar[int]
    TRAVERSE_FIELD_NUMBER: _ClassVar[int]
    QUANTIFY_FIELD_NUMBER: _ClassVar[int]
    COUNTERFACTUAL_FIELD_NUMBER: _ClassVar[int]
    link: LinkSpec
    traverse: TraverseSpec
    quantify: QuantifySpec
    counterfactual: CounterfactualSpec
    def __init__(self, link: _Optional[_Union[LinkSpec, _Mapping]] = ..., traverse: _Optional[_Union[TraverseSpec, _Mapping]] = ..., quantify: _Optional[_Union[QuantifySpec, _Mapping]] = ..., counterfactual: _Optional[_Union[CounterfactualSpec, _Mapping]] = ...) -> None: ...

class LinkSpec(_message.Message):
    __slots__ = ("classifier", "generator", "layer", "classes", "truncation", "samples_per_class", "heldout_per_class", "penalties", "folds", "accept", "attempts_per_sample", "seed")
    CLASSIFIER_FIELD_NUMBER: _ClassVar[int]
    GENERATOR_FIELD_NUMBER: _ClassVar[int]
    LAYER_FIELD_NUMBER: _ClassVar[int]
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    TRUNCATION_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_PER_CLASS_FIELD_NUMBER: _ClassVar[int]
    HELDOUT_PER_CLASS_FIELD_NUMBER: _ClassVar[int]
    PENALTIES_FIELD_NUMBER: _ClassVar[int]
    FOLDS_FIELD_NUMBER: _ClassVar[int]
    ACCEPT_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_PER_SAMPLE_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    classifier: str
    generator: str
    layer: str
    classes: _containers.RepeatedScalarFieldContainer[str]
    truncation: float
    samples_per_class: int
    heldout_per_class: int
    penalties: _containers.RepeatedScalarFieldContainer[float]
    folds: int
    accept: Accept
    attempts_per_sample: int
    seed: int
    def __init__(self, classifier: _Optional[str] = ..., generator: _Optional[str] = ..., layer: _Optional[str] = ..., classes: _Optional[_Iterable[str]] = ..., truncation: _Optional[float] = ..., samples_per_class: _Optional[int] = ..., heldout_per_class: _Optional[int] = ..., penalties: _Optional[_Iterable[float]] = ..., folds: _Optional[int] = ..., accept: _Optional[_Union[Accept, str]] = ..., attempts_per_sample: _Optional[int] = ..., seed: _Optional[int] = ...) -> None: ...

class UnitSelection(_message.Message):
    __slots__ = ("indices", "top", "by", "for_class")
    INDICES_FIELD_NUMBER: _ClassVar[int]
    TOP_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    FOR_CLASS_FIELD_NUMBER: _ClassVar[int]
    indices: _containers.RepeatedScalarFieldContainer[int]
    top: int
    by: RankUnitsBy
    for_class: str
    def __init__(self, indices: _Optional[_Iterable[int]] = ..., top: _Optional[int] = ..., by: _Optional[_Union[RankUnitsBy, str]] = ..., for_class: _Optional[str] = ...) -> None: ...

class TraverseSpec(_message.Message):
    __slots__ = ("linker", "link", "units", "classes", "seeds_per_class", "steps", "low_quantile", "high_quantile", "keep", "seed", "render_with")
    LINKER_FIELD_NUMBER: _ClassVar[int]
    LINK_FIELD_NUMBER: _ClassVar[int]
    UNITS_FIELD_NUMBER: _ClassVar[int]
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    SEEDS_PER_CLASS_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    LOW_QUANTILE_FIELD_NUMBER: _ClassVar[int]
    HIGH_QUANTILE_FIELD_NUMBER: _ClassVar[int]
    KEEP_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    RENDER_WITH_FIELD_NUMBER: _ClassVar[int]
    linker: str
    link: LinkSpec
    units: UnitSelection
    classes: _containers.RepeatedScalarFieldContainer[str]
    seeds_per_class: int
    steps: int
    low_quantile: float
    high_quantile: float
    keep: Keep
    seed: int
    render_with: str
    def __init__(self, linker: _Optional[str] = ..., link: _Optional[_Union[LinkSpec, _Mapping]] = ..., units: _Optional[_Union[UnitSelection, _Mapping]] = ..., classes: _Optional[_Iterable[str]] = ..., seeds_per_class: _Optional[int] = ..., steps: _Optional[int] = ..., low_quantile: _Optional[float] = ..., high_quantile: _Optional[float] = ..., keep: _Optional[_Union[Keep, str]] = ..., seed: _Optional[int] = ..., render_with: _Optional[str] = ...) -> None: ...

class UnitGroup(_message.Message):
    __slots__ = ("name", "units")
    NAME_FIELD_NUMBER: _ClassVar[int]
    UNITS_FIELD_NUMBER: _ClassVar[int]
    name: str
    units: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, name: _Optional[str] = ..., units: _Optional[_Iterable[int]] = ...) -> None: ...

class Perturbation(_message.Message):
    __slots__ = ("by", "low_quantile", "high_quantile", "deviations")
    BY_FIELD_NUMBER: _ClassVar[int]
    LOW_QUANTILE_FIELD_NUMBER: _ClassVar[int]
    HIGH_QUANTILE_FIELD_NUMBER: _ClassVar[int]
    DEVIATIONS_FIELD_NUMBER: _ClassVar[int]
    by: PerturbBy
    low_quantile: float
    high_quantile: float
    deviations: float
    def __init__(self, by: _Optional[_Union[PerturbBy, str]] = ..., low_quantile: _Optional[float] = ..., high_quantile: _Optional[float] = ..., deviations: _Optional[float] = ...) -> None: ...

class QuantifySpec(_message.Message):
    __slots__ = ("linker", "link", "parts", "units", "groups", "perturbation", "start", "classes", "steps", "screening_seeds", "seeds", "shortlist", "min_trust", "image_folder", "keep", "seed", "render_with")
    LINKER_FIELD_NUMBER: _ClassVar[int]
    LINK_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    UNITS_FIELD_NUMBER: _ClassVar[int]
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    PERTURBATION_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    SCREENING_SEEDS_FIELD_NUMBER: _ClassVar[int]
    SEEDS_FIELD_NUMBER: _ClassVar[int]
    SHORTLIST_FIELD_NUMBER: _ClassVar[int]
    MIN_TRUST_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FOLDER_FIELD_NUMBER: _ClassVar[int]
    KEEP_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    RENDER_WITH_FIELD_NUMBER: _ClassVar[int]
    linker: str
    link: LinkSpec
    parts: str
    units: _containers.RepeatedScalarFieldContainer[int]
    groups: _containers.RepeatedCompositeFieldContainer[UnitGroup]
    perturbation: Perturbation
    start: Start
    classes: _containers.RepeatedScalarFieldContainer[str]
    steps: int
    screening_seeds: int
    seeds: int
    shortlist: int
    min_trust: float
    image_folder: str
    keep: Keep
    seed: int
    render_with: str
    def __init__(self, linker: _Optional[str] = ..., link: _Optional[_Union[LinkSpec, _Mapping]] = ..., parts: _Optional[str] = ..., units: _Optional[_Iterable[int]] = ..., groups: _Optional[_Iterable[_Union[UnitGroup, _Mapping]]] = ..., perturbation: _Optional[_Union[Perturbation, _Mapping]] = ..., start: _Optional[_Union[Start, str]] = ..., classes: _Optional[_Iterable[str]] = ..., steps: _Optional[int] = ..., screening_seeds: _Optional[int] = ..., seeds: _Optional[int] = ..., shortlist: _Optional[int] = ..., min_trust: _Optional[float] = ..., image_folder: _Optional[str] = ..., keep: _Optional[_Union[Keep, str]] = ..., seed: _Optional[int] = ..., render_with: _Optional[str] = ...) -> None: ...

class CounterfactualSpec(_message.Message):
    __slots__ = ("linker", "link", "parts", "method", "norm", "plausibility", "start", "origins", "targets", "runner_up", "seeds", "image_folder", "frames", "top", "max_steps", "keep", "seed", "render_with")
    LINKER_FIELD_NUMBER: _ClassVar[int]
    LINK_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    NORM_FIELD_NUMBER: _ClassVar[int]
    PLAUSIBILITY_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    ORIGINS_FIELD_NUMBER: _ClassVar[int]
    TARGETS_FIELD_NUMBER: _ClassVar[int]
    RUNNER_UP_FIELD_NUMBER: _ClassVar[int]
    SEEDS_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FOLDER_FIELD_NUMBER: _ClassVar[int]
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    TOP_FIELD_NUMBER: _ClassVar[int]
    MAX_STEPS_FIELD_NUMBER: _ClassVar[int]
    KEEP_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    RENDER_WITH_FIELD_NUMBER: _ClassVar[int]
    linker: str
    link: LinkSpec
    parts: str
    method: SearchMethod
    norm: Norm
    plausibility: float
    start: Start
    origins: _containers.RepeatedScalarFieldContainer[str]
    targets: _containers.RepeatedScalarFieldContainer[str]
    runner_up: bool
    seeds: int
    image_folder: str
    frames: int
    top: int
    max_steps: int
    keep: Keep
    seed: int
    render_with: str
    def __init__(self, linker: _Optional[str] = ..., link: _Optional[_Union[LinkSpec, _Mapping]] = ..., parts: _Optional[str] = ..., method: _Optional[_Union[SearchMethod, str]] = ..., norm: _Optional[_Union[Norm, str]] = ..., plausibility: _Optional[float] = ..., start: _Optional[_Union[Start, str]] = ..., origins: _Optional[_Iterable[str]] = ..., targets: _Optional[_Iterable[str]] = ..., runner_up: _Optional[bool] = ..., seeds: _Optional[int] = ..., image_folder: _Optional[str] = ..., frames: _Optional[int] = ..., top: _Optional[int] = ..., max_steps: _Optional[int] = ..., keep: _Optional[_Union[Keep, str]] = ..., seed: _Optional[int] = ..., render_with: _Optional[str] = ...) -> None: ...
