"""A job that speaks of the user's images is refused where they are not: it would learn it after its linker."""

import pytest

from tests.services.gateway.conftest import reason
from tests.support.gateway import LINK
from unitscope.errors import NotFoundError
from unitscope.jobs import layout
from unitscope.jobs.convert import spec_to_proto
from unitscope.jobs.specs import parse_spec


def submit(gateway, kind, folder, **fields):
    spec = parse_spec(kind, {"link": LINK, "parts": "tiny/parts", "image_folder": folder})
    return gateway.call("CreateAnalysisJob", spec=spec_to_proto(spec), **fields)


@pytest.mark.parametrize("kind", ["quantify", "counterfactual"])
def test_images_must_be_there_when_a_job_is_created(gateway, kind):
    gateway.store.create(layout.image_index("faces"), b"{}")
    gateway.store.create(layout.image("cats", "00000-00000000.png"), b"half added")
    for missing in ("face", "cats"):
        with pytest.raises(
            NotFoundError, match=f"no images called '{missing}'.*there are: faces; 'unitscope ima"
        ):
            submit(gateway, kind, missing)
        assert reason(submit, gateway, kind, missing) == ("NOT_FOUND", "IMAGES_NOT_FOUND")
    assert gateway.store.children(layout.JOBS) == []
    assert submit(gateway, kind, "faces").job.job_id


def test_validating_asks_for_no_images(gateway):
    """The command validates before it puts a picture into the store."""
    assert submit(gateway, "counterfactual", "later", validate_only=True).cost.renders > 0


def test_a_job_that_was_created_is_found_again_without_its_images(gateway):
    gateway.store.create(layout.image_index("faces"), b"{}")
    first = submit(gateway, "counterfactual", "faces", request_id="a").job.job_id
    gateway.store.delete(layout.image_index("faces"))
    assert submit(gateway, "counterfactual", "faces", request_id="a").job.job_id == first
