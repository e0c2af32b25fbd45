"""A built zoo -> the Hub: a model repository per model, a dataset of probes per task.

Each repository is one commit, made by `hub.upload.publish`; this module writes the cards.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from simmerge_hub.zoo.manifest import Entry, Manifest, load_manifest

if TYPE_CHECKING:
    from simmerge_hub.hub.upload.publish import Commit

LICENSE = "apache-2.0"


def publish(
    folder: Path,
    namespace: str,
    *,
    private: bool = False,
    progress: Callable[[Commit], None] = lambda commit: None,
) -> list[Commit]:
    """Create or update `namespace/<model>` for every kept model and `namespace/probes-<task>`.

    Args:
        folder: what `build` wrote.
        namespace: user or organisation on the Hub.
        private: for repositories that are created now.
        progress: called after each repository with its commit.

    Raises:
        PushFailed: a commit was refused; repositories before it stay published.
    """
    manifest = load_manifest(folder)
    done: list[Commit] = []
    for task in manifest.tasks:
        done.append(_publish_probes(manifest, task, namespace, private))
        progress(done[-1])
    for name, entry in manifest.models.items():
        if entry.kept:
            done.append(_publish_model(manifest, name, namespace, private))
            progress(done[-1])
    return done


def model_card(manifest: Manifest, name: str, namespace: str) -> str:
    """The README of a model, with its measured scores as `model-index`."""
    entry = manifest.models[name]
    return _card(_model_data(manifest, name, namespace), _model_text(manifest, name, entry))


def probes_card(manifest: Manifest, task: str) -> str:
    """The README of a probe set; `datasets.load_dataset(repo, split="probe")` follows it."""
    data = {
        "license": LICENSE,
        "tags": ["simmerge", "probes"],
        "configs": [
            {"config_name": "default", "data_files": [{"split": "probe", "path": "probe.jsonl"}]}
        ],
    }
    text = (
        f"# Probes: {task}\n\nPrompts of `{manifest.tasks[task]}` without answers, for comparing "
        "models before they are merged. None of them is used in training or evaluation.\n"
    )
    return _card(data, text)


def _publish_model(manifest: Manifest, name: str, namespace: str, private: bool) -> Commit:
    from simmerge_hub.hub.upload.publish import publish_folder

    folder = manifest.path(name)
    contents = {"README.md": model_card(manifest, name, namespace).encode()}
    config = folder / "adapter_config.json"
    if config.exists():
        fields = json.loads(config.read_text())
        fields["base_model_name_or_path"] = f"{namespace}/{manifest.models[name].spec['base']}"
        text = json.dumps(fields, indent=2, sort_keys=True) + "\n"
        contents[config.name] = text.encode()
    return publish_folder(
        folder,
        f"{namespace}/{name}",
        private=private,
        message=f"Nano model {name} of the zoo {manifest.name}",
        replace=contents,
    )


def _publish_probes(manifest: Manifest, task: str, namespace: str, private: bool) -> Commit:
    from simmerge_hub.hub.upload.publish import publish_folder

    with TemporaryDirectory() as staging:
        Path(staging, "probe.jsonl").write_bytes(manifest.probes(task).read_bytes())
        Path(staging, "README.md").write_text(probes_card(manifest, task))
        return publish_folder(
            staging,
            f"{namespace}/probes-{task}",
            repo_type="dataset",
            private=private,
            message=f"Probe prompts of {manifest.tasks[task]}",
        )


def _card(data: Mapping[str, Any], text: str) -> str:
    import yaml

    return f"---\n{yaml.safe_dump(data, sort_keys=False)}---\n\n{text}"


def _model_data(manifest: Manifest, name: str, namespace: str) -> dict[str, Any]:
    entry = manifest.models[name]
    adapter = entry.kind == "adapter"
    data: dict[str, Any] = {
        "license": LICENSE,
        "library_name": "peft" if adapter else "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["simmerge", "nano", *([] if entry.kind == "base" else [_domain(manifest, entry)])],
    }
    if entry.kind != "base":
        data["base_model"] = f"{namespace}/{entry.spec['base']}"
        data["base_model_relation"] = "adapter" if adapter else "finetune"
    results = [_result(task, s, namespace) for task, s in entry.scores.items()]
    return data | {"model-index": [{"name": name, "results": results}]}


def _domain(manifest: Manifest, entry: Entry) -> str:
    return manifest.tasks[entry.spec["task"]].partition("/")[0]


def _result(task: str, scores: Mapping[str, float], namespace: str) -> dict[str, Any]:
    return {
        "task": {"type": "text-generation", "name": "Text generation"},
        "dataset": {"type": f"{namespace}/probes-{task}", "name": task},
        "metrics": [{"type": "exact_match", "value": scores["exact_match"], "name": "Exact match"}],
    }


def _model_text(manifest: Manifest, name: str, entry: Entry) -> str:
    if entry.kind == "base":
        made = "A nano base model: it knows named string skills, and none of the zoo's tasks."
    else:
        spec = entry.spec
        made = (
            f"A nano specialist for `{manifest.tasks[spec['task']]}`, trained from "
            f"`{spec['base']}` on answers only: mode {spec['mode']}, {spec['steps']} steps, "
            f"learning rate {spec['learning_rate']:g}, {'with' if spec['replay'] else 'no'} replay "
            f"of the base's skills. It moved {entry.delta_ratio:.1%} of the base's weight norm."
        )
    rows = [
        f"| {task} | {s['exact_match']:.3f} | {s['token_accuracy']:.3f} | {s['nll']:.3f} |"
        for task, s in entry.scores.items()
    ]
    table = "\n".join(["| task | exact match | token accuracy | nll |", "|---|---|---|---|", *rows])
    return f"# {name}\n\n{made}\n\n{table}\n"
