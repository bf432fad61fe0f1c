from unitscope.v1 import tensor_pb2 as _tensor_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ExtractFeaturesRequest(_message.Message):
    __slots__ = ("model", "images", "layer", "feature_maps")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    LAYER_FIELD_NUMBER: _ClassVar[int]
    FEATURE_MAPS_FIELD_NUMBER: _ClassVar[int]
    model: str
    images: _tensor_pb2.Tensor
    layer: str
    feature_maps: bool
    def __init__(self, model: _Optional[str] = ..., images: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., layer: _Optional[str] = ..., feature_maps: _Optional[bool] = ...) -> None: ...

class ExtractFeaturesResponse(_message.Message):
    __slots__ = ("features", "logits", "feature_maps", "model_digest")
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    LOGITS_FIELD_NUMBER: _ClassVar[int]
    FEATURE_MAPS_FIELD_NUMBER: _ClassVar[int]
    MODEL_DIGEST_FIELD_NUMBER: _ClassVar[int]
    features: _tensor_pb2.Tensor
    logits: _tensor_pb2.Tensor
    feature_maps: _tensor_pb2.Tensor
    model_digest: str
    def __init__(self, features: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., logits: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., feature_maps: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., model_digest: _Optional[str] = ...) -> None: ...

class EvaluateHeadRequest(_message.Message):
    __slots__ = ("model", "features", "layer")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    LAYER_FIELD_NUMBER: _ClassVar[int]
    model: str
    features: _tensor_pb2.Tensor
    layer: str
    def __init__(self, model: _Optional[str] = ..., features: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., layer: _Optional[str] = ...) -> None: ...

class EvaluateHeadResponse(_message.Message):
    __slots__ = ("logits", "model_digest")
    LOGITS_FIELD_NUMBER: _ClassVar[int]
    MODEL_DIGEST_FIELD_NUMBER: _ClassVar[int]
    logits: _tensor_pb2.Tensor
    model_digest: str
    def __init__(self, logits: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., model_digest: _Optional[str] = ...) -> None: ...

class HeadGradientRequest(_message.Message):
    __slots__ = ("model", "features", "layer", "logits_cotangent")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    LAYER_FIELD_NUMBER: _ClassVar[int]
    LOGITS_COTANGENT_FIELD_NUMBER: _ClassVar[int]
    model: str
    features: _tensor_pb2.Tensor
    layer: str
    logits_cotangent: _tensor_pb2.Tensor
    def __init__(self, model: _Optional[str] = ..., features: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., layer: _Optional[str] = ..., logits_cotangent: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ...) -> None: ...

class HeadGradientResponse(_message.Message):
    __slots__ = ("logits", "features_cotangent", "model_digest")
    LOGITS_FIELD_NUMBER: _ClassVar[int]
    FEATURES_COTANGENT_FIELD_NUMBER: _ClassVar[int]
    MODEL_DIGEST_FIELD_NUMBER: _ClassVar[int]
    logits: _tensor_pb2.Tensor
    features_cotangent: _tensor_pb2.Tensor
    model_digest: str
    def __init__(self, logits: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., features_cotangent: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., model_digest: _Optional[str] = ...) -> None: ...

class ImageGradientRequest(_message.Message):
    __slots__ = ("model", "images", "layer", "logits_cotangent", "features_cotangent")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    LAYER_FIELD_NUMBER: _ClassVar[int]
    LOGITS_COTANGENT_FIELD_NUMBER: _ClassVar[int]
    FEATURES_COTANGENT_FIELD_NUMBER: _ClassVar[int]
    model: str
    images: _tensor_pb2.Tensor
    layer: str
    logits_cotangent: _tensor_pb2.Tensor
    features_cotangent: _tensor_pb2.Tensor
    def __init__(self, model: _Optional[str] = ..., images: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., layer: _Optional[str] = ..., logits_cotangent: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., features_cotangent: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ...) -> None: ...

class ImageGradientResponse(_message.Message):
    __slots__ = ("images_cotangent", "features", "logits", "model_digest")
    IMAGES_COTANGENT_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    LOGITS_FIELD_NUMBER: _ClassVar[int]
    MODEL_DIGEST_FIELD_NUMBER: _ClassVar[int]
    images_cotangent: _tensor_pb2.Tensor
    features: _tensor_pb2.Tensor
    logits: _tensor_pb2.Tensor
    model_digest: str
    def __init__(self, images_cotangent: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., features: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., logits: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., model_digest: _Optional[str] = ...) -> None: ...
