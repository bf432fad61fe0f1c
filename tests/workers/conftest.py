import pytest

from tests.workers.stack import QUANTIFY, TRAVERSE, running_stack


@pytest.fixture(scope="session")
def stack(tmp_path_factory):
    with running_stack(tmp_path_factory.mktemp("stack")) as running:
        yield running


@pytest.fixture(scope="session")
def traversed(stack):
    """A whole `traverse` job that fits its linker first."""
    return stack.run("job-" + "a" * 24, TRAVERSE)


@pytest.fixture(scope="session")
def quantified(stack):
    """A whole `quantify` job that fits its linker first."""
    return stack.run("job-" + "b" * 24, QUANTIFY)
