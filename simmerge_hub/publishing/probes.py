"""The probe sets of the package -> the Hub, a dataset each, so that any program can read them."""

import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from simmerge_hub.recipe import dump_yaml
from simmerge_hub.signatures.probing.probe import PROBE_DOMAINS, ProbeSet, probe_set

if TYPE_CHECKING:
    from simmerge_hub.hub.upload.publish import Commit

PROBES_LICENSE = "apache-2.0"
REPO_NAME = "simmerge-probes-{}"
"""What the dataset of a domain is called."""
CARD_TEMPLATE = """\
---
{data}---

# Probes: {task}

{count} prompts for the domain *{task}*, without answers. simmerge-hub compares models by what they
do on them before it predicts a merge: `--probes {task}={repo}`.

SHA-256 of the prompts, as plans and signatures record it: `{digest}`.
"""


def publish_probes(
    namespace: str,
    *,
    private: bool = False,
    progress: Callable[["Commit"], None] = lambda commit: None,
) -> list["Commit"]:
    """Create or update `namespace/simmerge-probes-<domain>` for the five domains, a commit each.

    Args:
        namespace: user or organisation on the Hub.
        private: for datasets that are created now.
        progress: called after each dataset with its commit.

    Raises:
        PushFailed: a commit was refused; datasets before it stay published.
    """
    from simmerge_hub.hub.upload.publish import publish_folder

    done: list[Commit] = []
    for domain in PROBE_DOMAINS:
        repo, probes = f"{namespace}/{REPO_NAME.format(domain)}", probe_set(domain)
        with TemporaryDirectory() as staging:
            Path(staging, "probe.jsonl").write_text(_lines(probes), "utf-8")
            Path(staging, "README.md").write_text(_card(probes, repo), "utf-8")
            made = publish_folder(
                staging,
                repo,
                repo_type="dataset",
                private=private,
                message=f"Probe prompts for {domain}",
            )
        done.append(made)
        progress(made)
    return done


def _lines(probes: ProbeSet) -> str:
    return "".join(json.dumps({"prompt": p}, ensure_ascii=False) + "\n" for p in probes.prompts)


def _card(probes: ProbeSet, repo: str) -> str:
    data = {
        "license": PROBES_LICENSE,
        "tags": ["simmerge", "probes"],
        "configs": [
            {"config_name": "default", "data_files": [{"split": "probe", "path": "probe.jsonl"}]}
        ],
    }
    return CARD_TEMPLATE.format(
        data=dump_yaml(data),
        task=probes.task,
        count=len(probes.prompts),
        repo=repo,
        digest=probes.digest,
    )
