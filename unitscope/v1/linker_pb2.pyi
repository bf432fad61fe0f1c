from unitscope.v1 import tensor_pb2 as _tensor_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AccumulateRequest(_message.Message):
    __slots__ = ("destination", "batch", "chunk")
    DESTINATION_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    destination: str
    batch: PairBatch
    chunk: _tensor_pb2.ObjectReference
    def __init__(self, destination: _Optional[str] = ..., batch: _Optional[_Union[PairBatch, _Mapping]] = ..., chunk: _Optional[_Union[_tensor_pb2.ObjectReference, _Mapping]] = ...) -> None: ...

class PairBatch(_message.Message):
    __slots__ = ("features", "latents", "classes", "rows")
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    LATENTS_FIELD_NUMBER: _ClassVar[int]
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    features: _tensor_pb2.Tensor
    latents: _tensor_pb2.Tensor
    classes: _tensor_pb2.Tensor
    rows: _tensor_pb2.Tensor
    def __init__(self, features: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., latents: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., classes: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., rows: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ...) -> None: ...

class AccumulateResponse(_message.Message):
    __slots__ = ("statistics", "pairs")
    STATISTICS_FIELD_NUMBER: _ClassVar[int]
    PAIRS_FIELD_NUMBER: _ClassVar[int]
    statistics: _tensor_pb2.ObjectReference
    pairs: int
    def __init__(self, statistics: _Optional[_Union[_tensor_pb2.ObjectReference, _Mapping]] = ..., pairs: _Optional[int] = ...) -> None: ...

class SolveRequest(_message.Message):
    __slots__ = ("folds", "penalties", "destination")
    FOLDS_FIELD_NUMBER: _ClassVar[int]
    PENALTIES_FIELD_NUMBER: _ClassVar[int]
    DESTINATION_FIELD_NUMBER: _ClassVar[int]
    folds: _containers.RepeatedCompositeFieldContainer[_tensor_pb2.ObjectReference]
    penalties: _containers.RepeatedScalarFieldContainer[float]
    destination: str
    def __init__(self, folds: _Optional[_Iterable[_Union[_tensor_pb2.ObjectReference, _Mapping]]] = ..., penalties: _Optional[_Iterable[float]] = ..., destination: _Optional[str] = ...) -> None: ...

class SolveResponse(_message.Message):
    __slots__ = ("solution", "penalty", "cross_validation_errors", "pairs")
    SOLUTION_FIELD_NUMBER: _ClassVar[int]
    PENALTY_FIELD_NUMBER: _ClassVar[int]
    CROSS_VALIDATION_ERRORS_FIELD_NUMBER: _ClassVar[int]
    PAIRS_FIELD_NUMBER: _ClassVar[int]
    solution: _tensor_pb2.ObjectReference
    penalty: float
    cross_validation_errors: _containers.RepeatedScalarFieldContainer[float]
    pairs: int
    def __init__(self, solution: _Optional[_Union[_tensor_pb2.ObjectReference, _Mapping]] = ..., penalty: _Optional[float] = ..., cross_validation_errors: _Optional[_Iterable[float]] = ..., pairs: _Optional[int] = ...) -> None: ...

class EvaluateRequest(_message.Message):
    __slots__ = ("solution", "chunks", "resamples", "seed")
    SOLUTION_FIELD_NUMBER: _ClassVar[int]
    CHUNKS_FIELD_NUMBER: _ClassVar[int]
    RESAMPLES_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    solution: _tensor_pb2.ObjectReference
    chunks: _containers.RepeatedCompositeFieldContainer[_tensor_pb2.ObjectReference]
    resamples: int
    seed: int
    def __init__(self, solution: _Optional[_Union[_tensor_pb2.ObjectReference, _Mapping]] = ..., chunks: _Optional[_Iterable[_Union[_tensor_pb2.ObjectReference, _Mapping]]] = ..., resamples: _Optional[int] = ..., seed: _Optional[int] = ...) -> None: ...

class EvaluateResponse(_message.Message):
    __slots__ = ("rows",)
    ROWS_FIELD_NUMBER: _ClassVar[int]
    rows: _containers.RepeatedCompositeFieldContainer[QualityRow]
    def __init__(self, rows: _Optional[_Iterable[_Union[QualityRow, _Mapping]]] = ...) -> None: ...

class QualityRow(_message.Message):
    __slots__ = ("metric", "scope", "method", "value", "lower", "upper", "pairs")
    METRIC_FIELD_NUMBER: _ClassVar[int]
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    LOWER_FIELD_NUMBER: _ClassVar[int]
    UPPER_FIELD_NUMBER: _ClassVar[int]
    PAIRS_FIELD_NUMBER: _ClassVar[int]
    metric: str
    scope: str
    method: str
    value: float
    lower: float
    upper: float
    pairs: int
    def __init__(self, metric: _Optional[str] = ..., scope: _Optional[str] = ..., method: _Optional[str] = ..., value: _Optional[float] = ..., lower: _Optional[float] = ..., upper: _Optional[float] = ..., pairs: _Optional[int] = ...) -> None: ...

class ApplyRequest(_message.Message):
    __slots__ = ("solution", "linker", "features", "method", "classes")
    SOLUTION_FIELD_NUMBER: _ClassVar[int]
    LINKER_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    solution: _tensor_pb2.ObjectReference
    linker: str
    features: _tensor_pb2.Tensor
    method: str
    classes: _tensor_pb2.Tensor
    def __init__(self, solution: _Optional[_Union[_tensor_pb2.ObjectReference, _Mapping]] = ..., linker: _Optional[str] = ..., features: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., method: _Optional[str] = ..., classes: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ...) -> None: ...

class ApplyResponse(_message.Message):
    __slots__ = ("latents", "distances")
    LATENTS_FIELD_NUMBER: _ClassVar[int]
    DISTANCES_FIELD_NUMBER: _ClassVar[int]
    latents: _tensor_pb2.Tensor
    distances: _tensor_pb2.Tensor
    def __init__(self, latents: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., distances: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ...) -> None: ...

class StoreLinkerRequest(_message.Message):
    __slots__ = ("solution", "card")
    SOLUTION_FIELD_NUMBER: _ClassVar[int]
    CARD_FIELD_NUMBER: _ClassVar[int]
    solution: _tensor_pb2.ObjectReference
    card: str
    def __init__(self, solution: _Optional[_Union[_tensor_pb2.ObjectReference, _Mapping]] = ..., card: _Optional[str] = ...) -> None: ...

class StoreLinkerResponse(_message.Message):
    __slots__ = ("digest", "card_key")
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    CARD_KEY_FIELD_NUMBER: _ClassVar[int]
    digest: str
    card_key: str
    def __init__(self, digest: _Optional[str] = ..., card_key: _Optional[str] = ...) -> None: ...
