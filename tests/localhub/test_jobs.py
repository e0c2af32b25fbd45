"""Jobs are taken from who is logged in, shown without their secrets, and never run."""

import httpx2
import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError

from simmerge_hub import localhub


def test_a_job_is_taken_and_shown_without_its_secrets(hub: localhub.Hub) -> None:
    api = HfApi()
    sent = api.run_job(
        image="python:3.12", command=["python", "-c", "print(1)"], flavor="a10g-small",
        env={"A": "1"}, secrets={"HF_TOKEN": "hf_secret"}, timeout="2h",
    )  # fmt: skip
    seen = api.inspect_job(job_id=sent.id)
    assert seen.command == ["python", "-c", "print(1)"] and seen.flavor == "a10g-small"
    assert seen.environment == {"A": "1"} and seen.secrets == {"HF_TOKEN": ""}
    assert seen.status.stage == "SCHEDULING"
    address = f"{hub.endpoint}/api/jobs/{seen.owner.name}/{seen.id}"
    assert "hf_secret" not in httpx2.get(address, headers=_headers(hub)).text
    assert httpx2.get(address).status_code == 401


@pytest.mark.parametrize("command", ["echo", [1], None])
def test_a_job_without_words_to_run_is_refused(hub: localhub.Hub, command: object) -> None:
    answer = httpx2.post(
        f"{hub.endpoint}/api/jobs/owner", headers=_headers(hub),
        json={"command": command, "dockerImage": "python:3.12", "flavor": "cpu-basic"},
    )  # fmt: skip
    assert answer.status_code == 400 and "a list of words" in answer.text
    with pytest.raises(HfHubHTTPError, match="no such job"):
        HfApi().inspect_job(job_id="0" * 24)


def test_jobs_of_a_namespace_are_those_of_who_may_write_there(hub: localhub.Hub) -> None:
    theirs = {"authorization": "Bearer hf_visitor"}
    payload = {"command": ["true"], "dockerImage": "python:3.12", "flavor": "cpu-basic"}
    sent = httpx2.post(f"{hub.endpoint}/api/jobs/owner", headers=_headers(hub), json=payload)
    place = f"{hub.endpoint}/api/jobs/owner"
    assert httpx2.post(place, headers=theirs, json=payload).status_code == 403
    assert httpx2.get(f"{place}/{sent.json()['id']}", headers=theirs).status_code == 403
    own = f"{hub.endpoint}/api/jobs/visitor"
    assert httpx2.post(own, headers=theirs, json=payload).status_code == 200


def _headers(hub: localhub.Hub) -> dict[str, str]:
    return {"authorization": f"Bearer {hub.environment()['HF_TOKEN']}"}
