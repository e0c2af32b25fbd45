"""The nano zoo on the Hub, where the documentation expects it."""

from pathlib import Path

import pytest

from simmerge_hub.localhub import Hub


@pytest.fixture(scope="session")
def zoo(hub: Hub) -> Path:
    """The packaged zoo, published under `nano`; its folder."""
    from simmerge_hub.cli.zoo import nano_folder
    from simmerge_hub.zoo.publish import publish

    publish(nano_folder(), "nano")
    return nano_folder()
