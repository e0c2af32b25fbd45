from collections.abc import Iterator
from pathlib import Path

import pytest

from simmerge_hub import zoo
from simmerge_hub.zoo.build import build
from simmerge_hub.zoo.manifest import Manifest, load_manifest
from simmerge_hub.zoo.training import threads

PEFT = "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"
"""peft 0.21 asks transformers 5.23 by a name that is on its way out."""
TINY = Path(__file__).with_name("tiny.yaml")


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Models this small lose more by waiting for a second thread than they win by it."""
    with threads(1):
        yield


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """The zoo of tiny.yaml, built once; tests only read it."""
    return build(TINY, tmp_path_factory.mktemp("tiny") / "zoo")


@pytest.fixture(scope="session")
def nano() -> Manifest:
    """The demo set that is part of the package."""
    return load_manifest(Path(zoo.__file__).with_name("nano"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let peft's own deprecation pass in this folder; every other warning stays an error."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings(PEFT))
