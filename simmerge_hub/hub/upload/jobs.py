"""Jobs on the Hub's own machines: a command in an image, on hardware of some flavor."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from huggingface_hub import get_token

from simmerge_hub.errors import RequestError
from simmerge_hub.hub.client import api, endpoint, translate_answers


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job that the Hub took: `url` is its page."""

    id: str
    url: str
    stage: str


def submit(
    image: str, command: Sequence[str], *, flavor: str, environment: Mapping[str, str], timeout: str
) -> Job:
    """Let the Hub run a command, as whoever is logged in; the token goes along as a secret.

    Args:
        image: of Docker.
        command: its words.
        flavor: of the hardware, as `hf jobs hardware` lists them: cpu-basic, a10g-small, h200.
        environment: variables, which anybody who sees the job reads.
        timeout: after which the job is stopped: 30m, 8h, 2d.

    Raises:
        RequestError: nobody is logged in.
        HubError: the Hub is not reached, or refuses.
    """
    token = api().token or get_token()
    if not token:
        raise RequestError(
            "a job needs an account, and nobody is logged in", hint="log in: hf auth login"
        )
    variables = {**environment, "HF_ENDPOINT": endpoint()}
    with translate_answers("the job"):
        job = api().run_job(
            image=image, command=list(command), env=variables, secrets={"HF_TOKEN": token},
            flavor=flavor, timeout=timeout,
        )  # fmt: skip
    return Job(id=job.id, url=job.url, stage=str(job.status.stage))
