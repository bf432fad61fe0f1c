import pytest

from tests.workers.analyses.carried import CLASSES, FRAMES, SEEDS, Carried
from tests.workers.stack import LINK
from unitscope.jobs.specs import CounterfactualSpec
from workers.analyses.linked import Linked


@pytest.fixture(scope="session")
def linker(stack):
    """The digest of a linker, fitted once for all jobs."""
    job = stack.run("job-" + "1" * 24, LINK)
    return Linked.of(job.context).card.digest


@pytest.fixture(scope="session")
def base_spec(linker):
    return CounterfactualSpec(
        linker=linker,
        origins=("ash", "nowhere", "cedar"),
        targets=(*CLASSES, "unicorn"),
        seeds=SEEDS,
        frames=FRAMES,
    )


@pytest.fixture(scope="session")
def searched(stack, base_spec):
    return Carried(stack, "job-" + "2" * 24, base_spec)
