"""Products of a module's inputs with its own parameters, noticed while it runs.

Knows matrices and where they lie in memory; nothing of tokens, or of what is kept of the inputs.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module, Parameter
from torch.nn.functional import linear
from torch.overrides import TorchFunctionMode

MATRIX_PRODUCTS = {torch.matmul, torch.bmm, Tensor.matmul, Tensor.__matmul__, Tensor.bmm}
"""Functions whose second argument is [inputs, outputs], or one of those for each expert."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Product:
    """The inputs [..., width] that matrix `number` of the `matrices` in a parameter is fed.

    `transposed`: the matrix is [inputs, outputs].
    """

    parameter: str
    number: int
    matrices: int
    inputs: Tensor
    transposed: bool


class Products(TorchFunctionMode):
    """While inside, every product of this thread is told: the function and its arguments."""

    def __init__(self, notice: Callable[[Any, Sequence[Any]], None]) -> None:
        super().__init__()
        self._notice = notice

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func is linear:
            given = dict(zip(("input", "weight"), args, strict=False)) | (kwargs or {})
            self._notice(func, (given["input"], given["weight"]))
        elif func in MATRIX_PRODUCTS and len(args) == 2:
            self._notice(func, args)
        return func(*args, **(kwargs or {}))


def own_products(module: Module, func: Any, arguments: Sequence[Any]) -> Iterator[Product]:
    """What a product's matrix, or each of its matrices, is of the module's own parameters."""
    inputs, weight = arguments
    for name, parameter in module.named_parameters(recurse=False):
        if func is linear:
            if _is_part(weight, parameter):
                yield _product(name, parameter, weight, inputs, transposed=False)
        elif parameter.ndim == 3:
            for each, matrix in _pairs(inputs, weight):
                if _is_part(matrix, parameter):
                    yield _product(name, parameter, matrix, each, transposed=True)


def _pairs(inputs: Tensor, weight: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """A product with one matrix, or with several at once, each its own inputs."""
    if weight.ndim == 3 and inputs.ndim == 3 and len(inputs) == len(weight):
        yield from zip(inputs, weight, strict=True)
    else:
        yield inputs, weight


def _product(
    name: str, parameter: Parameter, matrix: Tensor, inputs: Tensor, *, transposed: bool
) -> Product:
    whole = parameter if parameter.ndim == 3 else parameter[None]
    return Product(
        parameter=name,
        number=(matrix.storage_offset() - parameter.storage_offset()) // whole.stride(0),
        matrices=len(whole),
        inputs=inputs,
        transposed=transposed,
    )


def _is_part(matrix: Tensor, parameter: Parameter) -> bool:
    return (
        matrix.shape == parameter.shape[-2:]
        and matrix.untyped_storage().data_ptr() == parameter.untyped_storage().data_ptr()
        and matrix.stride() == parameter.stride()[-2:]
    )
