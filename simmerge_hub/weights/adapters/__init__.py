"""LoRA adapters: rows of the base in, rows of base + delta out.

settings  adapter_config.json, checked
kinds     which adapters are products of matrices, and which are more
factors   the matrices of each adapted module, by the names of modules in memory
fit       whether an adapter's shapes are those of its base
folding   what they do to rows of the base's tensors
"""

from simmerge_hub.weights.adapters.factors import LORA, Lora, changed_tensors, separate, target_of
from simmerge_hub.weights.adapters.fit import check, transposed_modules
from simmerge_hub.weights.adapters.folding import Fold, folds
from simmerge_hub.weights.adapters.kinds import (
    PREFIX,
    base_name,
    base_names,
    base_revision,
    check_kind,
    ignored_settings,
    other_base,
    other_revision,
    unaimed_modules,
    unfoldable_error,
    unwrap,
)

__all__ = [
    "LORA", "PREFIX", "Fold", "Lora", "base_name", "base_names", "base_revision", "changed_tensors",
    "check", "check_kind", "folds", "ignored_settings", "other_base", "other_revision", "separate",
    "target_of", "transposed_modules", "unaimed_modules", "unfoldable_error", "unwrap",
]  # fmt: skip
