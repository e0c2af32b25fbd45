"""Which files beside the weights a merge has, from which input, and what is left behind.

Everything is carried over that is neither weights nor code nor a page or log of the input itself:
lists of names would be out of date with the next tokenizer. What says how text becomes tokens comes
from the model whose tokenizer the output has, everything else from the reference.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from simmerge_hub.hub.resolve import Checkpoint
from simmerge_hub.names import list_first
from simmerge_hub.weights.alignment.modules import Modules, choose_modules
from simmerge_hub.weights.tokens.tokenizers import VOCABULARY_FILES

WEIGHTS = re.compile(
    r".*\.(safetensors|bin|pt|pth|ckpt|gguf|ggml|h5|msgpack|onnx|onnx_data|npz|npy|ot|tflite"
    r"|mlmodel|mlpackage|nemo|pkl|pickle|tar|gz|zip|xz|zst|7z|parquet|arrow|distcp)"
    r"|.*\.(safetensors|bin)\.index(\.\w+)?\.json"
)
CODE = re.compile(
    r".*\.(py|pyc|ipynb|sh|bat|ps1|c|cc|cpp|cu|cuh|h|hpp|so|dll|dylib|js|ts|rs|go|java|jar|exe"
    r"|whl|patch)|.*(Dockerfile|Makefile)"
)
PAGES = re.compile(
    r"(README[^/]*|simmerge\.yaml|SHA256SUMS|config\.json|adapter_config\.json|.*\.md"
    r"|(trainer_state|training_args|train_results|eval_results|all_results|predict_results"
    r"|optimizer|scheduler|random_states|mergekit_config)[^/]*"
    r"|.*\.(png|jpe?g|gif|svg|webp|ico|pdf|mp4|mp3|wav|html?|log|csv|tsv|tfevents[^/]*))"
)
"""What tells of the input: its card, pictures, logs. The output has its own."""
PYTHON = re.compile(r"[A-Za-z_]\w*\.py")
OF_MODEL = re.compile(
    r"(generation_config|preprocessor_config|processor_config|video_preprocessor_config"
    r"|image_processor_config|feature_extractor_config)\.json"
    r"|(LICEN[SC]E|NOTICE|USE_POLICY)[^/]*"
)
"""Files that have nothing to do with tokens: those of the reference."""
LARGEST_FILE = 500_000_000
"""Bytes of a file that is carried over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """File names by where they come from, and sentences about what stays behind."""

    of_reference: tuple[str, ...]
    of_speaker: tuple[str, ...]
    notes: tuple[str, ...]
    modules: Modules | None = None


def choose_files(
    reference: Checkpoint,
    speaker: Checkpoint,
    *,
    custom_code: bool,
    rewritten: frozenset[str],
    models: Iterable[Checkpoint] = (),
) -> Carried:
    """The files to carry over.

    Args:
        reference: whose config the output has.
        speaker: whose tokenizer it has.
        custom_code: whether Python files are carried over too.
        rewritten: files of the tokenizer that the merge writes itself: then others that hold a
            vocabulary would say something else.
        models: what is merged, the base not among it.

    Raises:
        AlignmentError: layers of sentence-transformers that differ.
    """
    ours = list(_candidates(reference))
    theirs = ours if speaker is reference else list(_candidates(speaker))
    stale = [n for n in theirs if rewritten and n not in rewritten and _is_stale(n)]
    of_speaker = [n for n in theirs if not _is_of_model(n) and n not in stale]
    of_reference = [n for n in ours if _is_of_model(n)]
    python = [n for n in reference.files if PYTHON.fullmatch(n)]
    modules = choose_modules(list(models), [speaker, reference])
    left = [n for n in ours if n not in of_reference and n not in theirs]
    if custom_code:
        of_reference += python
    return Carried(
        of_reference=tuple(of_reference),
        of_speaker=tuple(of_speaker),
        notes=(
            *_notes(reference, speaker, [] if custom_code else python, left, stale),
            *(modules.notes if modules else ()),
        ),
        modules=modules,
    )


def _candidates(model: Checkpoint) -> Iterator[str]:
    nested = {name.rpartition("/")[0] for name in model.files if _is_model_file(name)}
    for name, entry in model.files.items():
        folder = name.rpartition("/")[0]
        if any(part.startswith(".") for part in name.split("/")) or folder in nested - {""}:
            continue
        if folder.split("/")[0] in ("simmerge", "runs", "logs"):
            continue
        if (
            not any(p.fullmatch(name) for p in (WEIGHTS, CODE, PAGES))
            and entry.size <= LARGEST_FILE
        ):
            yield name


def _is_model_file(name: str) -> bool:
    """Whether a file makes its folder a model of its own: of a training, in another format."""
    return WEIGHTS.fullmatch(name) is not None


def _is_of_model(name: str) -> bool:
    return OF_MODEL.fullmatch(name) is not None


def _is_stale(name: str) -> bool:
    return VOCABULARY_FILES.fullmatch(name) is not None or name == "added_tokens.json"


def _notes(
    reference: Checkpoint, speaker: Checkpoint, python: list[str], left: list[str], stale: list[str]
) -> Iterator[str]:
    if python:
        yield (
            f"left behind of {reference.name}: {list_first(python)}, code that is carried over "
            "only with `custom_code: true`"
        )
    if left:
        yield (
            f"left behind of {reference.name}: {list_first(left)}, for the output has the "
            f"tokenizer of {speaker.name}"
        )
    if stale:
        yield f"left behind of {speaker.name}: {list_first(stale)}, which lack the added tokens"
