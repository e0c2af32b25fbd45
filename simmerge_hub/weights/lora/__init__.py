"""Several LoRA adapters of one base -> one adapter: their true deltas are merged.

ΔW = scaling · B·A. A and B are never averaged apart: the product of two means is not the mean of
two products. Works from the adapters' files alone, one module at a time.

sources      an adapter from its headers; whether several belong together
factors      a sum of products as one product, exactly or at the best lower rank
combination  an operator -> what merges deltas
whole        tensors that adapters bring whole (modules_to_save)
tokens       what rows of adapted embeddings mean
merge        what the merged adapter will be, and its modules one by one
folder       the merged adapter as a folder that PEFT loads
"""

from simmerge_hub.weights.lora.combination import Combine, combination, unfed_weights
from simmerge_hub.weights.lora.folder import AdapterReport, adapter_folder, write_adapter
from simmerge_hub.weights.lora.merge import AdapterMerge, Mix, Module, merge_adapters
from simmerge_hub.weights.lora.tokens import left_out_tokens

__all__ = [
    "AdapterMerge", "AdapterReport", "Combine", "Mix", "Module",
    "adapter_folder", "combination", "left_out_tokens", "merge_adapters", "unfed_weights",
    "write_adapter",
]  # fmt: skip
