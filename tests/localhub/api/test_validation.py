"""The check of a card before it is committed: errors, a warning, or nothing to say."""

import json
import urllib.error
import urllib.request
from typing import Any

import pytest

from simmerge_hub.localhub import Hub


def check(hub: Hub, readme: str) -> tuple[int, dict[str, Any]]:
    """The status and the answer, as the unmodified client gets them."""
    request = urllib.request.Request(
        f"{hub.endpoint}/api/validate-yaml",
        data=json.dumps({"repoType": "model", "content": readme}).encode(),
        headers={"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def test_a_card_without_faults(hub: Hub) -> None:
    assert check(hub, "---\nlicense: mit\n---\n# A\n") == (200, {"errors": [], "warnings": []})


@pytest.mark.parametrize("readme", ["", "# A model\n"])
def test_no_front_matter_is_a_warning(hub: Hub, readme: str) -> None:
    status, said = check(hub, readme)
    assert (status, said["errors"]) == (200, [])
    assert said["warnings"] == [{"message": "empty or missing yaml metadata in repo card"}]


@pytest.mark.parametrize("readme", ["---\nlicense: [\n---\n", "---\nbase_model: 3\n---\n"])
def test_a_wrong_one_is_an_error(hub: Hub, readme: str) -> None:
    status, said = check(hub, readme)
    assert status == 400
    assert said["errors"][0]["message"]
    assert said["warnings"] == []
