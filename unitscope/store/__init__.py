"""The object store, the truth about jobs: one protocol, and behind it a directory or S3."""

from unitscope.store.base import ObjectInfo, ObjectStore, get_verified
from unitscope.store.factory import open_store

__all__ = ["ObjectInfo", "ObjectStore", "get_verified", "open_store"]
