"""Our probe sets as datasets: what is read back is what the package has."""

from huggingface_hub import HfApi

from simmerge_hub.cli.main import main
from simmerge_hub.localhub import Hub
from simmerge_hub.publishing.probes import publish_probes
from simmerge_hub.signatures.probing.probe import PROBE_DOMAINS, probe_set


def test_they_read_back_to_the_same_digest(hub: Hub, org: str) -> None:
    done = publish_probes(org)
    assert [commit.repo for commit in done] == [f"{org}/simmerge-probes-{d}" for d in PROBE_DOMAINS]
    for commit, domain in zip(done, PROBE_DOMAINS, strict=True):
        assert probe_set(domain, commit.repo).digest == probe_set(domain).digest


def test_any_program_can_load_them(hub: Hub, org: str) -> None:
    from datasets import load_dataset

    publish_probes(org)
    rows = load_dataset(f"{org}/simmerge-probes-multilingual", split="probe")
    assert tuple(rows["prompt"]) == probe_set("multilingual").prompts


def test_from_the_command_line_private(hub: Hub, org: str) -> None:
    assert main(["probes", "publish", org, "--private"]) == 0
    assert HfApi().dataset_info(f"{org}/simmerge-probes-code").private
