"""Recipe -> a model folder that transformers loads. Never asks who chose the recipe.

layout       which tensors the output has and where each comes from: headers only
preflight    what a merge would do and cost, or why it cannot be done: headers only
activations  what the models' layers are fed, layer by layer
compute      the rows of one output tensor
work         tensors through threads, layers or nodes
files        config, tokenizer and the rest of the folder
run          all of it, into a folder
streaming    all of it, sent while it is made
adapter      all of it, of adapters into one adapter
report       what a merge did, and the texts beside its weights
"""

from simmerge_hub.merger.compute import blocks, merge_rows
from simmerge_hub.merger.layout import Layout, lay_out
from simmerge_hub.merger.preflight import Preflight, check
from simmerge_hub.merger.report import MergeReport, Page
from simmerge_hub.merger.run import merge

__all__ = [
    "Layout", "MergeReport", "Page", "Preflight",
    "blocks", "check", "lay_out", "merge", "merge_rows",
]  # fmt: skip
