"""How PyTorch's modules are digested: by their parameters and buffers, their classes, and their own attributes."""

from __future__ import annotations

import functools
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

from repro_magic.introspection.foreign import attributes, is_any, is_below, is_notebooks, kind_of
from repro_magic.proof.digest.object_parts import is_code
from repro_magic.proof.digest.parts import Own
from repro_magic.proof.digest.plain_values import encoder_of

# Limits of a module's options: items of a container, and depth. Larger containers are something else.
_MOST_ITEMS, _DEEPEST = 1000, 3


def parameters(value: Any) -> dict[str, Any]:
    """A module's parameters and buffers by name, each once, found without running code of its class.

    Raises:
        ValueError: a module has no `_parameters`, for example because its `__init__` did not run.
    """
    tensors: dict[str, Any] = {}
    seen: set[int] = set()
    for prefix, part in _modules(value):
        if _is_scripted(part):  # its parameters are in C++
            return {**dict(value.named_parameters()), **dict(value.named_buffers())}
        if "_parameters" not in attributes(part):
            raise ValueError("it has no parameters")
        for name, tensor in (*_own_dict(part, "_parameters").items(), *_own_dict(part, "_buffers").items()):
            if tensor is not None and id(tensor) not in seen:
                seen.add(id(tensor))
                tensors[_path(prefix, name)] = tensor
    return tensors


def _is_scripted(value: object) -> bool:
    jit = sys.modules.get("torch.jit")
    return jit is not None and is_below(type(value), jit.ScriptModule)


def _own_dict(value: object, name: str) -> dict[str, Any]:
    """A dictionary in a module's attribute; empty if its `__init__` did not run."""
    dictionary: Any = attributes(value).get(name)
    return dict(dict.items(dictionary)) if issubclass(type(dictionary), dict) else {}


def _modules(value: Any) -> Iterator[tuple[str, Any]]:
    """A module and its submodules, each once, with their names."""
    waiting, seen = [("", value)], set()
    while waiting:
        prefix, part = waiting.pop()
        if part is None or id(part) in seen:
            continue
        seen.add(id(part))
        yield prefix, part
        children = _own_dict(part, "_modules").items()
        waiting += reversed([(_path(prefix, name), child) for name, child in children])


def _path(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name


def module_attributes(value: Any, is_tool: Callable[[object], bool]) -> dict[str, object]:
    """The class and attributes of a module and its submodules, without parameters and buffers.

    Code is excluded; of a library's modules only plain attributes count, such as `p`.

    Args:
        value: the module.
        is_tool: whether an attribute is a library's object, such as the trainer of the module.
    """
    fields: dict[str, object] = {}
    for prefix, part in _modules(value):
        is_of_notebook, own_attributes = is_notebooks(type(part)), attributes(part)
        own_parameters = _own_dict(part, "_parameters").items()
        trained = [name for name, tensor in own_parameters if tensor is not None and tensor.requires_grad]
        fields[_path(prefix, "class")] = kind_of(part)
        fields[_path(prefix, "training")] = own_attributes.get("training")
        fields[_path(prefix, "trained")] = trained
        for name, data in own_attributes.items():
            if name not in _module_internals() and (not is_code(data) if is_of_notebook else is_data(data)):
                is_librarys = name[:1] == "_" and is_tool(data)
                fields[_path(prefix, name)] = Own(data) if is_librarys else data
    return fields


def is_data(value: object, depth: int = _DEEPEST) -> bool:
    """Whether a value is plain data, such as a number or a string, or a small container of plain data.

    Example:
        >>> is_data({"p": (0.5, None)}), is_data([object()])
        (True, False)
    """
    kind = type(value)
    if encoder_of(kind) is not None or kind_of(value) in {"torch.dtype", "torch.device", "torch.Size"}:
        return True
    if depth == 0 or not is_any(kind, list, tuple, dict, set, OrderedDict) or len(value) > _MOST_ITEMS:  # type: ignore[arg-type]
        return False
    parts = (*value, *value.values()) if isinstance(value, dict) else value
    return all(is_data(part, depth - 1) for part in parts)  # type: ignore[attr-defined]


@functools.cache
def _module_internals() -> frozenset[str]:
    """The attributes that every module has for PyTorch's internal use."""
    return frozenset(vars(sys.modules["torch"].nn.Module()))
