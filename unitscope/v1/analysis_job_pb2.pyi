import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from unitscope.v1 import analysis_spec_pb2 as _analysis_spec_pb2
from unitscope.v1 import info_pb2 as _info_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class JobState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    JOB_STATE_UNSPECIFIED: _ClassVar[JobState]
    JOB_STATE_QUEUED: _ClassVar[JobState]
    JOB_STATE_RUNNING: _ClassVar[JobState]
    JOB_STATE_CANCELLING: _ClassVar[JobState]
    JOB_STATE_SUCCEEDED: _ClassVar[JobState]
    JOB_STATE_FAILED: _ClassVar[JobState]
    JOB_STATE_CANCELLED: _ClassVar[JobState]
JOB_STATE_UNSPECIFIED: JobState
JOB_STATE_QUEUED: JobState
JOB_STATE_RUNNING: JobState
JOB_STATE_CANCELLING: JobState
JOB_STATE_SUCCEEDED: JobState
JOB_STATE_FAILED: JobState
JOB_STATE_CANCELLED: JobState

class AnalysisJob(_message.Message):
    __slots__ = ("job_id", "spec", "state", "progress", "error", "create_time", "end_time", "plan_digest", "models", "artifacts", "sequence", "project", "creator")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    PLAN_DIGEST_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    ARTIFACTS_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    CREATOR_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    spec: _analysis_spec_pb2.AnalysisSpec
    state: JobState
    progress: JobProgress
    error: JobError
    create_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    plan_digest: str
    models: _containers.RepeatedCompositeFieldContainer[_info_pb2.ModelInfo]
    artifacts: _containers.RepeatedCompositeFieldContainer[Artifact]
    sequence: int
    project: str
    creator: str
    def __init__(self, job_id: _Optional[str] = ..., spec: _Optional[_Union[_analysis_spec_pb2.AnalysisSpec, _Mapping]] = ..., state: _Optional[_Union[JobState, str]] = ..., progress: _Optional[_Union[JobProgress, _Mapping]] = ..., error: _Optional[_Union[JobError, _Mapping]] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., plan_digest: _Optional[str] = ..., models: _Optional[_Iterable[_Union[_info_pb2.ModelInfo, _Mapping]]] = ..., artifacts: _Optional[_Iterable[_Union[Artifact, _Mapping]]] = ..., sequence: _Optional[int] = ..., project: _Optional[str] = ..., creator: _Optional[str] = ...) -> None: ...

class JobProgress(_message.Message):
    __slots__ = ("stage", "stage_index", "stage_count", "chunks_done", "chunks_total", "fraction", "waiting_for")
    STAGE_FIELD_NUMBER: _ClassVar[int]
    STAGE_INDEX_FIELD_NUMBER: _ClassVar[int]
    STAGE_COUNT_FIELD_NUMBER: _ClassVar[int]
    CHUNKS_DONE_FIELD_NUMBER: _ClassVar[int]
    CHUNKS_TOTAL_FIELD_NUMBER: _ClassVar[int]
    FRACTION_FIELD_NUMBER: _ClassVar[int]
    WAITING_FOR_FIELD_NUMBER: _ClassVar[int]
    stage: str
    stage_index: int
    stage_count: int
    chunks_done: int
    chunks_total: int
    fraction: float
    waiting_for: str
    def __init__(self, stage: _Optional[str] = ..., stage_index: _Optional[int] = ..., stage_count: _Optional[int] = ..., chunks_done: _Optional[int] = ..., chunks_total: _Optional[int] = ..., fraction: _Optional[float] = ..., waiting_for: _Optional[str] = ...) -> None: ...

class JobError(_message.Message):
    __slots__ = ("status", "reason", "message", "chunk")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    status: str
    reason: str
    message: str
    chunk: str
    def __init__(self, status: _Optional[str] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ..., chunk: _Optional[str] = ...) -> None: ...

class Artifact(_message.Message):
    __slots__ = ("name", "sha256", "size", "media_type")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    MEDIA_TYPE_FIELD_NUMBER: _ClassVar[int]
    name: str
    sha256: str
    size: int
    media_type: str
    def __init__(self, name: _Optional[str] = ..., sha256: _Optional[str] = ..., size: _Optional[int] = ..., media_type: _Optional[str] = ...) -> None: ...

class PlanCost(_message.Message):
    __slots__ = ("renders", "stored_bytes", "seconds", "chunks")
    RENDERS_FIELD_NUMBER: _ClassVar[int]
    STORED_BYTES_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    CHUNKS_FIELD_NUMBER: _ClassVar[int]
    renders: int
    stored_bytes: int
    seconds: float
    chunks: int
    def __init__(self, renders: _Optional[int] = ..., stored_bytes: _Optional[int] = ..., seconds: _Optional[float] = ..., chunks: _Optional[int] = ...) -> None: ...

class CreateAnalysisJobRequest(_message.Message):
    __slots__ = ("spec", "request_id", "validate_only")
    SPEC_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    spec: _analysis_spec_pb2.AnalysisSpec
    request_id: str
    validate_only: bool
    def __init__(self, spec: _Optional[_Union[_analysis_spec_pb2.AnalysisSpec, _Mapping]] = ..., request_id: _Optional[str] = ..., validate_only: _Optional[bool] = ...) -> None: ...

class CreateAnalysisJobResponse(_message.Message):
    __slots__ = ("job", "cost")
    JOB_FIELD_NUMBER: _ClassVar[int]
    COST_FIELD_NUMBER: _ClassVar[int]
    job: AnalysisJob
    cost: PlanCost
    def __init__(self, job: _Optional[_Union[AnalysisJob, _Mapping]] = ..., cost: _Optional[_Union[PlanCost, _Mapping]] = ...) -> None: ...

class GetAnalysisJobRequest(_message.Message):
    __slots__ = ("job_id",)
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    def __init__(self, job_id: _Optional[str] = ...) -> None: ...

class GetAnalysisJobResponse(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: AnalysisJob
    def __init__(self, job: _Optional[_Union[AnalysisJob, _Mapping]] = ...) -> None: ...

class ListAnalysisJobsRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "states", "kinds", "created_from", "created_before")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    STATES_FIELD_NUMBER: _ClassVar[int]
    KINDS_FIELD_NUMBER: _ClassVar[int]
    CREATED_FROM_FIELD_NUMBER: _ClassVar[int]
    CREATED_BEFORE_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    states: _containers.RepeatedScalarFieldContainer[JobState]
    kinds: _containers.RepeatedScalarFieldContainer[str]
    created_from: _timestamp_pb2.Timestamp
    created_before: _timestamp_pb2.Timestamp
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., states: _Optional[_Iterable[_Union[JobState, str]]] = ..., kinds: _Optional[_Iterable[str]] = ..., created_from: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., created_before: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ListAnalysisJobsResponse(_message.Message):
    __slots__ = ("jobs", "next_page_token")
    JOBS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    jobs: _containers.RepeatedCompositeFieldContainer[AnalysisJob]
    next_page_token: str
    def __init__(self, jobs: _Optional[_Iterable[_Union[AnalysisJob, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class WatchAnalysisJobRequest(_message.Message):
    __slots__ = ("job_id", "after_sequence")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    AFTER_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    after_sequence: int
    def __init__(self, job_id: _Optional[str] = ..., after_sequence: _Optional[int] = ...) -> None: ...

class WatchAnalysisJobResponse(_message.Message):
    __slots__ = ("job", "heartbeat")
    JOB_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    job: AnalysisJob
    heartbeat: bool
    def __init__(self, job: _Optional[_Union[AnalysisJob, _Mapping]] = ..., heartbeat: _Optional[bool] = ...) -> None: ...

class CancelAnalysisJobRequest(_message.Message):
    __slots__ = ("job_id",)
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    def __init__(self, job_id: _Optional[str] = ...) -> None: ...

class CancelAnalysisJobResponse(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: AnalysisJob
    def __init__(self, job: _Optional[_Union[AnalysisJob, _Mapping]] = ...) -> None: ...

class DeleteAnalysisJobRequest(_message.Message):
    __slots__ = ("job_id",)
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    def __init__(self, job_id: _Optional[str] = ...) -> None: ...

class DeleteAnalysisJobResponse(_message.Message):
    __slots__ = ("deleted",)
    DELETED_FIELD_NUMBER: _ClassVar[int]
    deleted: DeletedJob
    def __init__(self, deleted: _Optional[_Union[DeletedJob, _Mapping]] = ...) -> None: ...

class DeletedJob(_message.Message):
    __slots__ = ("job_id", "project", "kind", "state", "create_time", "delete_time", "deleted_by", "cause", "manifest_sha256", "spec_sha256", "plan_digest", "objects", "size")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    DELETE_TIME_FIELD_NUMBER: _ClassVar[int]
    DELETED_BY_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    MANIFEST_SHA256_FIELD_NUMBER: _ClassVar[int]
    SPEC_SHA256_FIELD_NUMBER: _ClassVar[int]
    PLAN_DIGEST_FIELD_NUMBER: _ClassVar[int]
    OBJECTS_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    project: str
    kind: str
    state: JobState
    create_time: _timestamp_pb2.Timestamp
    delete_time: _timestamp_pb2.Timestamp
    deleted_by: str
    cause: str
    manifest_sha256: str
    spec_sha256: str
    plan_digest: str
    objects: int
    size: int
    def __init__(self, job_id: _Optional[str] = ..., project: _Optional[str] = ..., kind: _Optional[str] = ..., state: _Optional[_Union[JobState, str]] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., delete_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., deleted_by: _Optional[str] = ..., cause: _Optional[str] = ..., manifest_sha256: _Optional[str] = ..., spec_sha256: _Optional[str] = ..., plan_digest: _Optional[str] = ..., objects: _Optional[int] = ..., size: _Optional[int] = ...) -> None: ...

class ListArtifactsRequest(_message.Message):
    __slots__ = ("job_id", "page_size", "page_token")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    page_size: int
    page_token: str
    def __init__(self, job_id: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListArtifactsResponse(_message.Message):
    __slots__ = ("artifacts", "next_page_token")
    ARTIFACTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    artifacts: _containers.RepeatedCompositeFieldContainer[Artifact]
    next_page_token: str
    def __init__(self, artifacts: _Optional[_Iterable[_Union[Artifact, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class GetArtifactLinkRequest(_message.Message):
    __slots__ = ("job_id", "artifact", "lifetime_seconds")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    ARTIFACT_FIELD_NUMBER: _ClassVar[int]
    LIFETIME_SECONDS_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    artifact: str
    lifetime_seconds: int
    def __init__(self, job_id: _Optional[str] = ..., artifact: _Optional[str] = ..., lifetime_seconds: _Optional[int] = ...) -> None: ...

class GetArtifactLinkResponse(_message.Message):
    __slots__ = ("artifact", "url", "expire_time")
    ARTIFACT_FIELD_NUMBER: _ClassVar[int]
    URL_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    artifact: Artifact
    url: str
    expire_time: _timestamp_pb2.Timestamp
    def __init__(self, artifact: _Optional[_Union[Artifact, _Mapping]] = ..., url: _Optional[str] = ..., expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ReadArtifactRequest(_message.Message):
    __slots__ = ("job_id", "artifact")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    ARTIFACT_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    artifact: str
    def __init__(self, job_id: _Optional[str] = ..., artifact: _Optional[str] = ...) -> None: ...

class ReadArtifactResponse(_message.Message):
    __slots__ = ("data",)
    DATA_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    def __init__(self, data: _Optional[bytes] = ...) -> None: ...

class GetCapabilitiesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetCapabilitiesResponse(_message.Message):
    __slots__ = ("version", "kinds", "models", "limits")
    class LimitsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    VERSION_FIELD_NUMBER: _ClassVar[int]
    KINDS_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    version: str
    kinds: _containers.RepeatedCompositeFieldContainer[AnalysisKind]
    models: _containers.RepeatedCompositeFieldContainer[ModelCapability]
    limits: _containers.ScalarMap[str, int]
    def __init__(self, version: _Optional[str] = ..., kinds: _Optional[_Iterable[_Union[AnalysisKind, _Mapping]]] = ..., models: _Optional[_Iterable[_Union[ModelCapability, _Mapping]]] = ..., limits: _Optional[_Mapping[str, int]] = ...) -> None: ...

class AnalysisKind(_message.Message):
    __slots__ = ("name", "summary", "json_schema")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    JSON_SCHEMA_FIELD_NUMBER: _ClassVar[int]
    name: str
    summary: str
    json_schema: str
    def __init__(self, name: _Optional[str] = ..., summary: _Optional[str] = ..., json_schema: _Optional[str] = ...) -> None: ...

class ModelCapability(_message.Message):
    __slots__ = ("model", "classes", "layers", "description")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    LAYERS_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    model: _info_pb2.ModelInfo
    classes: _containers.RepeatedScalarFieldContainer[str]
    layers: _containers.RepeatedCompositeFieldContainer[LayerCapability]
    description: str
    def __init__(self, model: _Optional[_Union[_info_pb2.ModelInfo, _Mapping]] = ..., classes: _Optional[_Iterable[str]] = ..., layers: _Optional[_Iterable[_Union[LayerCapability, _Mapping]]] = ..., description: _Optional[str] = ...) -> None: ...

class LayerCapability(_message.Message):
    __slots__ = ("name", "units", "nonnegative")
    NAME_FIELD_NUMBER: _ClassVar[int]
    UNITS_FIELD_NUMBER: _ClassVar[int]
    NONNEGATIVE_FIELD_NUMBER: _ClassVar[int]
    name: str
    units: int
    nonnegative: bool
    def __init__(self, name: _Optional[str] = ..., units: _Optional[int] = ..., nonnegative: _Optional[bool] = ...) -> None: ...
