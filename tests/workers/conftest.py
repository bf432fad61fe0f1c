import pytest

from tests.workers.stack import running_stack
from unitscope.jobs.specs import LinkSpec, TraverseSpec, UnitSelection

LINK = LinkSpec(
    classifier="tiny/classifier",
    generator="tiny/generator",
    samples_per_class=60,
    heldout_per_class=12,
    folds=2,
    penalties=(0.01, 0.1, 1.0),
)
TRAVERSE = TraverseSpec(link=LINK, units=UnitSelection(top=3), seeds_per_class=3, steps=4)


@pytest.fixture(scope="session")
def stack(tmp_path_factory):
    with running_stack(tmp_path_factory.mktemp("stack")) as running:
        yield running


@pytest.fixture(scope="session")
def traversed(stack):
    """A whole `traverse` job that fits its linker first."""
    return stack.run("job-" + "a" * 24, TRAVERSE)
