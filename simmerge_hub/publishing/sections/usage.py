"""How a merge is loaded, for its card: the class of transformers, and the lines of Python."""

import re

from simmerge_hub.merger import MergeReport

REPO_ID = "REPO_ID"
"""Stands for the repository's name until the merge is pushed."""
REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
LOADERS = {
    "ForCausalLM": ("AutoModelForCausalLM", "text-generation"),
    "LMHeadModel": ("AutoModelForCausalLM", "text-generation"),
    "ForMaskedLM": ("AutoModelForMaskedLM", "fill-mask"),
    "ForSequenceClassification": ("AutoModelForSequenceClassification", "text-classification"),
    "ForTokenClassification": ("AutoModelForTokenClassification", "token-classification"),
    "ForQuestionAnswering": ("AutoModelForQuestionAnswering", "question-answering"),
    "ForSeq2SeqLM": ("AutoModelForSeq2SeqLM", "text2text-generation"),
    "ForImageTextToText": ("AutoModelForImageTextToText", "image-text-to-text"),
}
"""What an architecture's name ends with: its Auto class in transformers, its task on the Hub."""


def find_loader(report: MergeReport) -> tuple[str, str]:
    """The Auto class that loads the reference's architecture, and its task on the Hub."""
    if report.recipe.output == "adapter":
        return LOADERS["ForCausalLM"]
    config = report.checkpoints[report.recipe.reference].config
    stated = config.get("architectures")
    name = str(stated[0]) if isinstance(stated, list) and stated else "ForCausalLM"
    for suffix, loader in LOADERS.items():
        if name.endswith(suffix):
            return loader
    if name.endswith("ForConditionalGeneration"):
        pictures = "vision_config" in config
        return LOADERS["ForImageTextToText" if pictures else "ForSeq2SeqLM"]
    return "AutoModel", "feature-extraction"


def show_usage(report: MergeReport) -> str:
    """The section that says how it is loaded."""
    if report.recipe.output == "adapter":
        return _usage_of_adapter(report)
    loader = find_loader(report)[0]
    return f"""## Use

```python
from transformers import {loader}, AutoTokenizer

model = {loader}.from_pretrained("{REPO_ID}", dtype="{report.recipe.dtype}")
tokenizer = AutoTokenizer.from_pretrained("{REPO_ID}")
```"""


def find_base(report: MergeReport) -> str:
    """The repository of the model that adapters were trained on; "" if they do not say."""
    first = report.checkpoints[report.recipe.models[0].name]
    return next((p for p in first.parents if REPOSITORY.fullmatch(p)), "")


def _usage_of_adapter(report: MergeReport) -> str:
    base = find_base(report) or "BASE_MODEL"
    return f"""## Use

This is a LoRA adapter; it needs the base it was trained on.

```python
from peft import PeftModel
from transformers import AutoModelForCausalLM

model = AutoModelForCausalLM.from_pretrained("{base}")
model = PeftModel.from_pretrained(model, "{REPO_ID}")
```"""
