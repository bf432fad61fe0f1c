"""Creating a large object in parts, still create-only.

Parts go up one by one, each tried again by itself; what makes the object appear is the *completion*, and
that one request carries ``If-None-Match: *``, so that the server decides among all writers. A writer that
is killed leaves an upload behind; whoever creates the object removes all other uploads of its name, for
none of them can succeed any more.
"""

from __future__ import annotations

from contextlib import suppress
from xml.etree import ElementTree

from unitscope.errors import UnitScopeError
from unitscope.store.answers import refused
from unitscope.store.signed import Answer, SignedRequests

TAKEN = frozenset({409, 412})
"""Somebody else has, or is about to have, created the object."""
_GONE = "NoSuchUpload"
_AMID = Answer(409, b"", "", 1)
"""Stands for an upload that was gone amid the work."""


class Multipart:
    """Uploads in parts to one bucket."""

    def __init__(self, requests: SignedRequests, part_bytes: int) -> None:
        """Prepares.

        Args:
            requests: Signed requests for the bucket.
            part_bytes: The size of all parts but the last; S3 wants at least 5 MiB.
        """
        self._requests = requests
        self._part_bytes = part_bytes

    def create(self, name: str, data: bytes, headers: dict[str, str]) -> Answer:
        """Uploads the parts and completes them unless the name is taken.

        Args:
            name: The object's whole name in the bucket.
            data: Its bytes.
            headers: Content type and metadata.

        Returns:
            The answer to the completion: its status is below 300, or one of `TAKEN`.

        Raises:
            UnitScopeError: As the server answered; no upload is left where it can be helped.
        """
        begun = self._checked(name, self._requests.send("POST", name, {"uploads": ""}, headers))
        upload = ElementTree.fromstring(begun.body).findtext("{*}UploadId") or ""
        try:
            tags = self._parts(name, upload, data)
            answer = self._complete(name, upload, tags) if tags else _AMID
        except BaseException:
            with suppress(UnitScopeError):
                self.abort(name, upload)
            raise
        with suppress(UnitScopeError):  # Tidying must not fail what is done; see `abandoned` as well.
            if answer.status in TAKEN:
                self.abort(name, upload)
            else:
                for other, of_upload in self.uploads(name):
                    if other == name and of_upload != upload:
                        self.abort(name, of_upload)
        return answer

    def uploads(self, prefix: str) -> list[tuple[str, str]]:
        """Names and ids of unfinished uploads below a prefix (the first 1,000)."""
        answer = self._requests.send("GET", "", {"uploads": "", "prefix": prefix})
        tree = ElementTree.fromstring(self._checked(prefix, answer).body)
        return [
            (found.findtext("{*}Key") or "", found.findtext("{*}UploadId") or "")
            for found in tree.iterfind("{*}Upload")
        ]

    def abort(self, name: str, upload: str) -> None:
        """Removes an unfinished upload and its parts."""
        self._requests.send("DELETE", name, {"uploadId": upload})

    def _parts(self, name: str, upload: str, data: bytes) -> list[str]:
        """The tags of the parts; none where somebody removed the upload, having created the object."""
        tags = []
        for number, start in enumerate(range(0, len(data), self._part_bytes), start=1):
            answer = self._requests.send(
                "PUT",
                name,
                {"partNumber": str(number), "uploadId": upload},
                body=data[start : start + self._part_bytes],
            )
            if answer.code == _GONE:
                return []
            tags.append(self._checked(name, answer).etag)
        return tags

    def _complete(self, name: str, upload: str, tags: list[str]) -> Answer:
        root = ElementTree.Element("CompleteMultipartUpload")
        for number, tag in enumerate(tags, start=1):
            part = ElementTree.SubElement(root, "Part")
            ElementTree.SubElement(part, "PartNumber").text = str(number)
            ElementTree.SubElement(part, "ETag").text = tag
        answer = self._requests.send(
            "POST",
            name,
            {"uploadId": upload},
            {"If-None-Match": "*", "Content-Type": "application/xml"},
            ElementTree.tostring(root),
        )
        if answer.code == _GONE:
            # Removed by who created the object, or complete by a try that was heard but not answered.
            return _AMID
        if answer.status in TAKEN:
            return answer
        # S3 may say 200 first and the error in the body.
        return self._checked(name, answer, answer.code)

    @staticmethod
    def _checked(name: str, answer: Answer, code: str = "") -> Answer:
        if answer.status >= 300 or code:
            raise refused(name, answer.status, answer.code)
        return answer
