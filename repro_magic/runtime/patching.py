"""Hooks in foreign code that its users do not notice.

Hooking a Python function swaps its code and keeps the function object. Code that holds the function, imports it under
another name, pickles it, compares it, scripts it or inspects it still has the same object. The new code has the name,
file, first line, parameters and free variables of the old code. It calls the hooks and the old code, which are among
its constants.
"""

from __future__ import annotations

import ast
import functools
import inspect
import sys
from collections.abc import Callable
from types import CodeType, FunctionType
from typing import Any
from weakref import WeakSet

Hook = Callable[..., object]
_BEFORE, _ORIGINAL, _AFTER, _AROUND = (f"repro_magic {role}" for role in ("before", "original", "after", "around"))
_RUNS_LATER = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
_swapped: WeakSet[CodeType] = WeakSet()


class uncompiled:  # noqa: N801 - used as a function; contextlib's own frames would be compiled
    """Keep `torch.compile` from compiling the code of a hook that a compiled function calls.

    Example:
        >>> with uncompiled():
        ...     pass
    """

    __slots__ = ("_before", "_switch")

    def __enter__(self) -> None:
        """Turn Dynamo off on this thread, if it is imported."""
        self._switch = getattr(sys.modules.get("torch._dynamo.eval_frame"), "set_eval_frame", None)
        if self._switch is not None:
            self._before = self._switch(None)

    def __exit__(self, *_: object) -> None:
        """Restore Dynamo's state."""
        if self._switch is not None:
            self._switch(self._before)


class Hooked:
    """Hooks the calls of a function, until `down`.

    Example:
        >>> def double(x):
        ...     return 2 * x
        >>> hooked = Hooked(double, before=print)
        >>> double(4)
        4
        8
        >>> hooked.down()
        >>> double(4)
        8
    """

    def __init__(
        self,
        function: FunctionType,
        *,
        before: Hook | None = None,
        after: Hook | None = None,
        around: Hook | None = None,
    ) -> None:
        """Swap the code.

        Args:
            function: a plain function, not a generator or coroutine function.
            before: called with the values of all parameters, in order, before the function's own code.
            after: called with the same values after that returns.
            around: called instead of the function's own code, with that code as a function and the caller's arguments.

        Raises:
            TypeError: `function` is not a plain function.
        """
        if type(function) is not FunctionType or function.__code__.co_flags & _RUNS_LATER:
            raise TypeError(f"{function!r} cannot be hooked")
        self._function, self._code = function, function.__code__
        original = FunctionType(
            self._code, function.__globals__, function.__name__, function.__defaults__, function.__closure__
        )
        original.__kwdefaults__ = function.__kwdefaults__
        roles = {_BEFORE: before, _ORIGINAL: original, _AFTER: after, _AROUND: around}
        self._ours = _with(self._code, {role: value for role, value in roles.items() if value is not None})
        _swapped.add(self._ours)
        keep_from_dynamo()
        function.__code__ = self._ours

    def down(self) -> None:
        """Restore the code, unless other code has replaced it since."""
        if self._function.__code__ is self._ours:
            self._function.__code__ = self._code


class Patch:
    """Replaces an attribute of a module or object, until `down`.

    Args:
        owner: the module or object.
        name: the attribute.
        make: creates the replacement from the original.

    Attributes:
        original: the original value.
        ours: the replacement.

    Raises:
        AttributeError: `owner` has no such attribute.

    Example:
        >>> import types
        >>> settings = types.SimpleNamespace(rate=1)
        >>> patch = Patch(settings, "rate", lambda rate: rate + 1)
        >>> settings.rate
        2
        >>> patch.down()
        >>> settings.rate
        1
    """

    def __init__(self, owner: object, name: str, make: Callable[[Any], Any]) -> None:
        """Set the replacement."""
        self._owner, self._name = owner, name
        self._is_inherited = name not in vars(owner)
        self.original = getattr(owner, name)
        self.ours = make(self.original)
        setattr(owner, name, self.ours)

    def down(self) -> None:
        """Restore the original, unless other code has replaced the attribute since."""
        if vars(self._owner).get(self._name) is not self.ours:
            return
        if self._is_inherited:
            delattr(self._owner, self._name)
        else:
            setattr(self._owner, self._name, self.original)


def keep_from_dynamo() -> None:
    """Make `torch.compile` skip the swapped-in code, and compile the functions' own code as before."""
    skip: Any = getattr(sys.modules.get("torch._dynamo.eval_frame"), "skip_code", None)
    for code in _swapped if skip is not None else ():
        skip(code)


def is_swapped_in(code: CodeType) -> bool:
    """Whether this code was swapped into a hooked function."""
    return code in _swapped


def _with(code: CodeType, values: dict[str, Any]) -> CodeType:
    """The code to swap in. Functions cannot be compiled as constants, so they are inserted afterwards."""
    compiled = _compiled(code, frozenset(values))
    constants = tuple(
        values.get(constant, constant) if isinstance(constant, str) else constant for constant in compiled.co_consts
    )
    return compiled.replace(
        co_consts=constants, co_name=code.co_name, co_qualname=code.co_qualname, co_flags=code.co_flags
    )


@functools.lru_cache(maxsize=64)  # threads are hooked anew for each cell
def _compiled(code: CodeType, roles: frozenset[str]) -> CodeType:
    tree = ast.parse(_source(code, roles))
    for node in ast.walk(tree):
        if isinstance(node, ast.stmt | ast.expr | ast.arg | ast.keyword):
            node.lineno = node.end_lineno = code.co_firstlineno
            node.col_offset = node.end_col_offset = 0
    module = compile(tree, code.co_filename, "exec", dont_inherit=True)
    for _ in ("outer", "inner"):
        module = next(constant for constant in module.co_consts if isinstance(constant, CodeType))
    return module


def _source(code: CodeType, roles: frozenset[str]) -> str:
    parameters = _Parameters(code)
    result = _call(_ORIGINAL, parameters.passed_on)
    if _AROUND in roles:
        result = _call(_AROUND, f"{_constant(_ORIGINAL)}, {parameters.passed_on}")
    if _AFTER in roles:  # a tuple keeps the order without an additional local variable
        result = f"({result}, {_call(_AFTER, parameters.values)})[0]"
    free = ", ".join(code.co_freevars)
    lines = [
        f"def outer({free}):",
        f" def inner({parameters.declared}):",
        *([f"  {_call(_BEFORE, parameters.values)}"] if _BEFORE in roles else []),
        f"  return {result}",
        *([f"  {free}"] if free else []),  # never reached; gives the new code the same free variables
    ]
    return "\n".join(lines)


def _call(role: str, arguments: str) -> str:
    return f"{_constant(role)}({arguments})"


def _constant(role: str) -> str:
    # The compiler removes the condition; it would warn about calling a bare constant.
    return f"({role!r} if 1 else {role!r})"


class _Parameters:
    """A function's parameters, in the three forms that the new code needs."""

    def __init__(self, code: CodeType) -> None:
        by_name = code.co_argcount + code.co_kwonlyargcount
        rest = list(code.co_varnames[by_name:])
        self._first = list(code.co_varnames[: code.co_argcount])
        self._named = list(code.co_varnames[code.co_argcount : by_name])
        self._args = [rest.pop(0)] if code.co_flags & inspect.CO_VARARGS else []
        self._kwargs = [rest.pop(0)] if code.co_flags & inspect.CO_VARKEYWORDS else []
        self._position_only = code.co_posonlyargcount

    @property
    def values(self) -> str:
        """The values of all parameters, in order."""
        return ", ".join([*self._first, *self._args, *self._named, *self._kwargs])

    @property
    def declared(self) -> str:
        """As the function declares them."""
        first = self._first.copy()
        if self._position_only:
            first.insert(self._position_only, "/")
        star = [f"*{name}" for name in self._args] or (["*"] if self._named else [])
        return ", ".join([*first, *star, *self._named, *(f"**{name}" for name in self._kwargs)])

    @property
    def passed_on(self) -> str:
        """As arguments for the function's own code."""
        named = [f"{name}={name}" for name in self._named]
        return ", ".join(
            [*self._first, *(f"*{name}" for name in self._args), *named, *(f"**{name}" for name in self._kwargs)]
        )


def lookalike(original: Any, notify: Callable[[], object]) -> Any:  # noqa: ANN401 - a builtin function
    """A replacement for a builtin function, for all modules that export it, that calls `notify` first.

    A builtin function has no code to swap. `ctypes` could replace its C entry, but an exception such as Ctrl-C cannot
    leave such a callback, and other interpreters of the process would run it, too. So the name is bound to an object
    that pickles, compares, hashes and introspects like the original. Only `type()`, and `is` with an earlier reference,
    can distinguish them.

    Example:
        >>> import os
        >>> getpid = lookalike(os.getpid, lambda: print("called"))
        >>> getpid == os.getpid, hash(getpid) == hash(os.getpid), getpid.__name__, getpid() == os.getpid()
        called
        (True, True, 'getpid', True)
    """
    return type(
        "builtin_function_or_method",
        (_Lookalike,),
        {"__slots__": (), "__module__": "builtins", **_methods(original, notify)},
    )()


class _Lookalike:
    __slots__ = ("__weakref__",)


def _methods(original: Any, notify: Callable[[], object]) -> dict[str, Any]:  # noqa: ANN401 - takes any function
    def call(_self: object, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as the original
        notify()
        return original(*args, **kwargs)

    def is_equal(_self: object, other: object) -> Any:  # noqa: ANN401 - NotImplemented, too
        return True if type(other) is type(_self) else original == other

    return {
        "__call__": call,
        "__eq__": is_equal,
        "__hash__": lambda _self: hash(original),
        "__repr__": lambda _self: repr(original),
        "__doc__": property(lambda _self: original.__doc__),  # help() bypasses __getattribute__
        "__dir__": lambda _self: dir(original),
        "__getattribute__": lambda _self, name: getattr(original, name),
    }
