"""Save and restore generator states with a checkpoint: a resumed run draws the same numbers.

A state holds strings, lists and dictionaries only. `torch.load(weights_only=True)` and JSON read it back, and no code
runs.
"""

from __future__ import annotations

import base64
import binascii
import sys
from collections.abc import Mapping
from typing import Any

from repro_magic.exceptions import InvalidStateError
from repro_magic.rng.generators import Generator, generators, import_libraries
from repro_magic.rng.user_generators import private

SCHEMA = "repro-magic.rng-state.v1"
State = dict[str, Any]
_ALWAYS = "python cpu"


def rng_state(**own: object) -> State:
    """Return the state of every global generator, and of generators that you pass.

    Global generators are Python's, NumPy's, PyTorch's on each started device, and those of plug-ins. Draws nothing and
    starts nothing.

    Args:
        own: your own generators, each under a name of your choice: `numpy.random.Generator`,
            `numpy.random.RandomState`, `random.Random` or `torch.Generator`.

    Returns:
        A dictionary for `torch.save`, JSON or pickle.

    Raises:
        InvalidStateError: `own` holds something else.

    Example:
        >>> import random
        >>> own = random.Random(1)
        >>> kept = rng_state(own=own)
        >>> first = random.random(), own.random()
        >>> set_rng_state(kept, own=own)
        []
        >>> first == (random.random(), own.random())
        True
    """
    held = {one.key: one for one in generators()} | _private(own)
    return {"schema": SCHEMA, "generators": {key: _written(one.get_state(), key) for key, one in held.items()}}


def set_rng_state(state: Mapping[str, Any], /, *, strict: bool = True, **own: object) -> list[str]:
    """Restore the generators from what `rng_state` returned: all of them, or none on an error.

    Args:
        state: what `rng_state` returned.
        strict: raise if a generator in `state` is missing here, such as a GPU's on a machine without a GPU, or if a
            generator in `own` is missing in `state`.
        own: your own generators, under the names that you passed to `rng_state`.

    Returns:
        The generators in `state` that are missing here and were skipped; empty with `strict`.

    Raises:
        InvalidStateError: `state` is damaged or from another release, or, with `strict`, a generator is missing.
            Nothing was changed.
    """
    recorded = _checked(state)
    mine = _private(own)
    import_libraries({key.partition(" ")[0] for key in recorded if key not in mine})
    here = {one.key: one for one in generators()} | mine
    untold = [key for key in mine if key not in recorded]
    if strict and (untold or _ALWAYS not in recorded):
        raise InvalidStateError(
            f"the state does not hold {', '.join(untold) or _ALWAYS}: pass it to rng_state() under the same name, "
            "or skip it with set_rng_state(state, strict=False)"
        )
    missing = [key for key in recorded if key not in here]
    if missing and strict:
        raise InvalidStateError(
            f"there is no generator {', '.join(missing)} here: import its library, start its device, or pass it by "
            "name; or skip it with set_rng_state(state, strict=False)"
        )
    before = {key: here[key].get_state() for key in recorded if key in here}
    read = {key: _read(recorded[key], key) for key in before}
    try:
        for key, value in read.items():
            here[key].set_state(value)
    except Exception as error:
        for key, value in before.items():
            here[key].set_state(value)
        raise InvalidStateError(f"the state does not match its generator: {error}") from error
    return missing


def _checked(state: object) -> Mapping[str, Any]:
    schema = state.get("schema") if isinstance(state, Mapping) else None
    if schema != SCHEMA:
        told = f"has schema {schema!r}" if isinstance(schema, str) else "has no schema"
        raise InvalidStateError(f"the state {told}, expected {SCHEMA!r}: pass what rng_state() returned")
    recorded = state["generators"] if isinstance(state, Mapping) and "generators" in state else None
    if not isinstance(recorded, Mapping):
        raise InvalidStateError("the state has no generators: pass what rng_state() returned")
    return recorded


def _private(held: Mapping[str, object]) -> dict[str, Generator]:
    found = {name: private(name, value) for name, value in held.items()}
    for name, one in found.items():
        if one is None:
            kind = type(held[name]).__name__
            raise InvalidStateError(f"cannot save the state of {name}: {kind} is not a supported generator")
    return {one.generator.key: one.generator for one in found.values() if one is not None}


# What a state is made of


def _written(value: Any, key: str) -> Any:  # noqa: ANN401 - each library has its own kind of state
    """A state as texts, lists and dictionaries: readers of JSON may round large numbers."""
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, int | float):
        return {"float": value.hex()} if isinstance(value, float) else {"int": str(value)}
    if isinstance(value, tuple | list):
        return {type(value).__name__: [_written(part, key) for part in value]}
    if isinstance(value, dict):
        return {"dict": {str(name): _written(part, key) for name, part in value.items()}}
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    if numpy is not None and isinstance(value, numpy.ndarray | numpy.generic) and value.dtype.kind in "iuf":
        array = numpy.ascontiguousarray(value, dtype=value.dtype.newbyteorder("<"))
        return {"array": [array.dtype.str, list(value.shape), base64.b64encode(array.tobytes()).decode()]}
    if torch is not None and isinstance(value, torch.Tensor) and value.dtype is torch.uint8:
        return {"tensor": base64.b64encode(value.cpu().numpy().tobytes()).decode()}
    raise InvalidStateError(f"the state of {key} holds a {type(value).__name__}, which cannot be saved")


def _read(value: Any, key: str) -> Any:  # noqa: ANN401 - each library has its own kind of state
    try:
        made = _made(value)
        _check_numbers(made)
    except (TypeError, ValueError, KeyError, AttributeError, binascii.Error, RecursionError) as error:
        raise InvalidStateError(f"the state of {key} is damaged: {error}") from None
    return made


_WORDS = 624  # of MT19937
# Of NumPy's bit generators: the most that a place or a flag may be, and the lengths of arrays. They take any, and read
# beyond their memory then.
_LIMITS = {"pos": _WORDS, "buffer_pos": 4, "has_uint32": 1, "uinteger": 2**32 - 1, "has_gauss": 1}
_LENGTHS = {
    "MT19937": {"key": _WORDS},
    "Philox": {"counter": 4, "key": 2, "buffer": 4},
    "SFC64": {"state": 4},
}


def _check_numbers(state: Any) -> None:  # noqa: ANN401 - each library has its own kind of state
    """Refuse what a library would take and fail of later, be it with a crash.

    Raises:
        ValueError: what is wrong.
        TypeError, KeyError: a part is of another kind, or missing.
    """
    if isinstance(state, tuple) and state and state[0] == "MT19937":  # numpy.random.get_state()
        _, key, position, has_gauss, gauss = state
        numbers = {"key": key, "pos": position}
        state = {"bit_generator": "MT19937", "state": numbers, "has_gauss": has_gauss, "gauss": gauss}
    if isinstance(state, dict) and "bit_generator" in state:
        inner = state["state"]
        parts = {**state, **inner}
        for name, most in _LIMITS.items():
            if name in parts and not 0 <= parts[name] <= most:
                raise ValueError(f"{name} is {parts[name]}, expected 0 to {most}")
        for name, length in _LENGTHS.get(state["bit_generator"], {}).items():
            if parts[name].shape != (length,):
                raise ValueError(f"{name} has the wrong length")
        if "has_gauss" in state and not isinstance(state["gauss"], float):
            raise TypeError("gauss is not a number")
    elif isinstance(state, tuple) and len(state) == _PYTHONS:  # random.getstate()
        *_, gauss = state
        if gauss is not None and not isinstance(gauss, float):
            raise TypeError("gauss is not a number")


_PYTHONS = 3


def _made(value: Any) -> Any:  # noqa: ANN401 - each library has its own kind of state
    if value is None or isinstance(value, str | bool):
        return value
    [(kind, held)] = value.items()
    return _MADE_OF[kind](held)


def _array(held: Any) -> Any:  # noqa: ANN401 - NumPy's
    numpy = sys.modules["numpy"]
    dtype, shape, text = held
    return numpy.frombuffer(base64.b64decode(text, validate=True), numpy.dtype(dtype)).reshape(shape).copy()


def _tensor(text: str) -> Any:  # noqa: ANN401 - torch's
    torch = sys.modules["torch"]
    return torch.frombuffer(bytearray(base64.b64decode(text, validate=True)), dtype=torch.uint8)


_MADE_OF: Mapping[str, Any] = {
    "int": int,
    "float": float.fromhex,
    "tuple": lambda parts: tuple(_made(part) for part in parts),
    "list": lambda parts: [_made(part) for part in parts],
    "dict": lambda parts: {name: _made(part) for name, part in parts.items()},
    "array": _array,
    "tensor": _tensor,
}
