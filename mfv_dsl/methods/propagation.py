"""Backward passes under the rules of attention-aware layer-wise relevance propagation.

AttnLRP (Achtibat et al., arXiv:2402.05602) says how the relevance of an output is shared out among
what it was computed from.  Its rules are such that the relevance of a state is the state times a
*modified* gradient, so that it takes a forward and one backward pass.  Modified are:

- norms: their statistics (the standard deviation or root mean square) count as constants, so that
  a norm hands its relevance on unchanged;
- activation functions f, element by element: the slope is f(x) / x, so that x gets what f(x) has;
- products of two activations, in the attention (queries with keys, weights with values) and in
  gated MLPs: each factor gets half.

Linear maps, sums and softmax keep their own gradients; biases take up the relevance that is lost.
What an activation is and what a weight: weights are constants within :func:`relevance_rules`.

The rules are put under torch's functions, not under a model's modules, so that they hold for any
model that is made of these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from mfv_dsl.base.errors import MfvError

Tensor = torch.Tensor
_BY_ELEMENT = frozenset({
    torch.mul, torch.multiply, Tensor.mul, Tensor.multiply, Tensor.__mul__, Tensor.__rmul__,
    Tensor.mul_, Tensor.__imul__,
})  # fmt: skip
_PRODUCTS = _BY_ELEMENT | frozenset({
    torch.matmul, Tensor.matmul, Tensor.__matmul__, Tensor.__rmatmul__, torch.bmm, Tensor.bmm,
    torch.baddbmm, Tensor.baddbmm, torch.einsum, F.scaled_dot_product_attention,
})  # fmt: skip
_ELEMENTWISE = frozenset({
    F.gelu, F.silu, F.relu, torch.relu, Tensor.relu, F.mish, F.hardswish, F.leaky_relu,
    torch.tanh, Tensor.tanh, F.tanh,
})  # fmt: skip
_STATISTICS = frozenset({torch.rsqrt, Tensor.rsqrt})
_POWERS = frozenset({torch.pow, Tensor.pow, Tensor.__pow__})
#: Functions of activations that no rule is for; in an activation module they are part of it.
_WITHOUT_RULE = frozenset({
    torch.sigmoid, Tensor.sigmoid, F.sigmoid, F.softplus, torch.exp, Tensor.exp, F.elu, F.glu,
    torch.div, Tensor.div, Tensor.__truediv__, torch.true_divide, F.group_norm, F.batch_norm,
})  # fmt: skip
_TINY = 1e-10


@contextmanager
def relevance_rules(model: nn.Module) -> Iterator[None]:
    """Within the block gradients through ``model`` are those of AttnLRP (arXiv:2402.05602).

    The rules hold for what is computed in the block, and have to hold while it is; the backward
    pass may come later.  Values stay as they are, but for rounding.  Raises MfvError (MFV5560) for
    a function that the rules do not cover.

    For example, how much each number of an input ``x`` (rows, width) counts for an output::

        x.requires_grad_()
        with relevance_rules(model):
            output = model(x)[:, 0].sum()
        relevance = x * torch.autograd.grad(output, x)[0]  # (rows, width)
    """
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    activations = [module for module in model.modules() if _is_activation(module)]
    inputs: dict[int, list[Tensor]] = {}
    handles = []

    def constant(module: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        inputs.setdefault(id(module), []).append(arguments[0])
        return (arguments[0].detach(), *arguments[1:])

    def identity(module: nn.Module, arguments: tuple[Any, ...], output: Tensor) -> Tensor:
        return _by_ratio(inputs[id(module)].pop(), output)

    try:
        for weight in weights:
            weight.requires_grad_(False)
        for module in activations:
            handles += [
                module.register_forward_pre_hook(constant),
                module.register_forward_hook(identity),
            ]
        with _Rules():
            yield
    finally:
        for handle in handles:
            handle.remove()
        for weight in weights:
            weight.requires_grad_(True)


def _is_activation(module: nn.Module) -> bool:
    """Whether a module is a function of each number by itself, such as GELU."""
    kind = type(module)
    if any(True for _ in module.children()) or any(True for _ in module.parameters()):
        return False
    known = kind.__module__ in ("torch.nn.modules.activation", "transformers.activations")
    return ("gelu" in kind.__name__.lower() or known) and "softmax" not in kind.__name__.lower()


class _Rules(TorchFunctionMode):
    """torch's functions with the rules' gradients."""

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # fmt: skip
        kwargs = dict(kwargs or {})
        rule = _rule(function)
        if rule is None or not torch.is_grad_enabled() or not any(map(_carries, args)):
            return function(*args, **kwargs)
        return rule(function, args, kwargs)


Rule = Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]


def _rule(function: Any) -> Rule | None:
    return next((rule for functions, rule in _RULES if function in functions), None)


def _carries(value: Any) -> bool:
    """Whether a value is a tensor that gradients reach, or a list of which one is."""
    if isinstance(value, list | tuple):
        return any(map(_carries, value))
    return isinstance(value, Tensor) and value.requires_grad


def _is_activation_value(value: Any) -> bool:
    return isinstance(value, Tensor) and not isinstance(value, nn.Parameter) and value.ndim > 0


def _product(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A product of two activations, each of which gets half: where both carry gradients, or in a
    matrix product, whose other factor may be an earlier token's."""
    if function is F.scaled_dot_product_attention:
        query, key, value, *rest = args
        scaled = _shared(query, 4), _shared(key, 4), _shared(value, 2)
        return function(*scaled, *rest, **kwargs)
    factors = args[1:] if function in (torch.baddbmm, Tensor.baddbmm, torch.einsum) else args
    factors = tuple(factors[0]) if len(factors) == 1 and isinstance(factors[0], list) else factors
    result = function(*args, **kwargs)
    by_element = function in _BY_ELEMENT
    wanted = _carries if by_element else _is_activation_value
    return _shared(result, 2) if all(map(wanted, factors[:2])) else result


def _shared(result: Any, parts: int) -> Any:
    """``result`` with its gradient divided by ``parts``."""
    if not _carries(result):
        return result
    return result.detach() + (result - result.detach()) / parts


def _elementwise(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return _by_ratio(args[0], function(args[0].detach(), *args[1:], **kwargs))


def _by_ratio(x: Tensor, output: Tensor) -> Tensor:
    """``output`` with the slope output / x."""
    x_now, output = x.detach(), output.detach()
    slope = output / torch.where(x_now.abs() < _TINY, torch.full_like(x_now, _TINY), x_now)
    return output + (x - x_now) * slope


def _statistic(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return function(args[0].detach(), *args[1:], **kwargs)


def _power(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A root mean square's reciprocal, where the exponent says so; any other power as it is."""
    exponent = args[1] if len(args) > 1 else kwargs.get("exponent")
    if isinstance(exponent, int | float) and exponent < 0:
        return _statistic(function, args, kwargs)
    return function(*args, **kwargs)


def _layer_norm(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    named = dict(zip(("input", "normalized_shape", "weight", "bias", "eps"), args, strict=False))
    named |= kwargs
    x, eps = _precise(named["input"]), named.get("eps", 1e-5)
    axes = tuple(range(-len(tuple(named["normalized_shape"])), 0))
    centred = x - x.mean(axes, keepdim=True)
    scale = (centred.detach().square().mean(axes, keepdim=True) + eps).rsqrt()
    return _affine(centred * scale, named)


def _rms_norm(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    named = dict(zip(("input", "normalized_shape", "weight", "eps"), args, strict=False)) | kwargs
    x, eps = _precise(named["input"]), named.get("eps")
    eps = torch.finfo(named["input"].dtype).eps if eps is None else eps
    axes = tuple(range(-len(tuple(named["normalized_shape"])), 0))
    scale = (x.detach().square().mean(axes, keepdim=True) + eps).rsqrt()
    return _affine(x * scale, named)


def _precise(x: Tensor) -> Tensor:
    """``x`` in float32 at least, as norms are computed."""
    return x if x.dtype == torch.float64 else x.float()


def _affine(normed: Tensor, named: Mapping[str, Any]) -> Tensor:
    if named.get("weight") is not None:
        normed = normed * _precise(named["weight"])
    if named.get("bias") is not None:
        normed = normed + _precise(named["bias"])
    return normed.to(named["input"].dtype)


def _refused(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A division by something that carries gradients, or a function without a rule."""
    name = getattr(function, "__name__", str(function))
    if "div" in name and not _carries(args[1] if len(args) > 1 else None):
        return function(*args, **kwargs)
    raise MfvError(
        "MFV5560",
        f"the model computes `{name.strip('_')}` of its states, and the rules of relevance "
        "propagation say nothing of it",
        help="rank heads by another way: `by=gradient` is as quick, `by=aie` exact",
    )


_RULES: tuple[tuple[frozenset[Any], Rule], ...] = (
    (_PRODUCTS, _product),
    (_ELEMENTWISE, _elementwise),
    (_STATISTICS, _statistic),
    (_POWERS, _power),
    (frozenset({F.layer_norm, torch.layer_norm}), _layer_norm),
    (frozenset({getattr(F, "rms_norm", None), getattr(torch, "rms_norm", None)}), _rms_norm),
    (_WITHOUT_RULE, _refused),
)
