"""Recipe -> a model folder that transformers loads. Never asks who chose the recipe.

layout     which tensors the output has and where each comes from: headers only
preflight  what a merge would do and cost, or why it cannot be done: headers only
compute    the rows of one output tensor
crew       tensors through threads
files      config, tokenizer and the rest of the folder
run        all of it
"""

from simmerge_hub.merger.compute import blocks, merge_rows
from simmerge_hub.merger.layout import Layout, lay_out
from simmerge_hub.merger.preflight import Preflight, check
from simmerge_hub.merger.report import MergeReport, Progress
from simmerge_hub.merger.run import merge

__all__ = [
    "Layout", "MergeReport", "Preflight", "Progress",
    "blocks", "check", "lay_out", "merge", "merge_rows",
]  # fmt: skip
