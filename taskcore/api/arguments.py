"""From a call's arguments to what is stored of them, what they depend on, and a clear refusal where they can't be."""

from __future__ import annotations

import json
import math
import sys
import types
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from taskcore.api.context import Context
from taskcore.api.future import TaskFuture
from taskcore.api.places import under
from taskcore.codec.json import JSON, Codec
from taskcore.core.options import OF_THE_NAME, OPTIONS, Options, checked_text
from taskcore.store.columns import said
from taskcore.store.queries import NO_ARGUMENTS
from taskcore.store.submit import Order

if TYPE_CHECKING:
    from inspect import Signature

IdOf = Callable[[Any], int]
Link = tuple[int, list[int]]
"""A task's id, and the place of its result in [args, kwargs]: positions, of a dict's items too."""

_CONTAINERS: Final = (list, tuple, dict)
_LOOKED_INTO: Final = (*_CONTAINERS, TaskFuture)
_STARRED: Final = 0x04
"""`inspect.CO_VARARGS`: a function has `*args`. The module is slow to import."""
_SCALARS: Final = frozenset((int, str, float, bool, type(None)))


def arity(fn: Callable[..., Any] | None) -> tuple[float, float]:
    """How many positional arguments a plain function takes at least and at most; of any other, no number is sure."""
    if fn is None:
        return 0, math.inf
    if type(fn) is not types.FunctionType:
        return 1, 0
    code = fn.__code__
    if code.co_kwonlyargcount > len(fn.__kwdefaults__ or ()):
        return 1, 0
    most = math.inf if code.co_flags & _STARRED else code.co_argcount
    return code.co_argcount - len(fn.__defaults__ or ()), most


def signature_of(fn: Callable[..., Any] | None, *, follow_wrapped: bool = False) -> Signature | None:
    """What a function takes itself, or what it wraps; `None` where it does not tell."""
    import inspect

    try:
        return None if fn is None else inspect.signature(fn, follow_wrapped=follow_wrapped)
    except (TypeError, ValueError):
        return None


def must_fit(name: str, signature: Signature | None, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """`TypeError` if a function of this signature cannot be called with these arguments."""
    if signature is None:
        return
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        surplus = [word for word in kwargs if word not in signature.parameters]
        ways = [f"; {word} is an option: say options({word}=…).submit(…)" for word in surplus if word in OPTIONS]
        ways += [f"; {word} is said in task()" for word in surplus if word in OF_THE_NAME]
        way = "".join(ways)
        raise TypeError(f"{name!r} cannot be called with these arguments: {error}{way}") from None


def encode(
    context: Context, name: str, fn: Callable[..., Any] | None, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[str, list[Link]]:
    """(arguments as text, links). `TypeError` that names the argument that cannot be stored."""
    if not args and not kwargs:
        return NO_ARGUMENTS, []
    codec = context.codec
    links: list[Link] = []
    plain = codec is JSON and not kwargs and _SCALARS.issuperset(map(type, args))
    whole: Any = [args, kwargs] if plain else _without_handles([list(args), kwargs], [], links, context.id_of)
    try:
        # Most arguments are numbers and short texts, and a walk costs more than they do: the same text, put together.
        text = f"[[{','.join(map(JSON.encode, args))}],{{}}]" if plain else codec.encode(whole)
    except (TypeError, ValueError, RecursionError) as error:
        raise _named(codec, name, fn, whole, error) from error
    return text, links


def _without_handles(value: Any, path: list[int], links: list[Link], id_of: IdOf) -> Any:
    """The value with `None` for each handle; the same object where there is none below."""
    if isinstance(value, TaskFuture):
        links.append((id_of(value), path))
        return None
    kind = type(value)
    if kind not in _CONTAINERS or not value or len(path) > 200:
        return value  # as deep as that nothing is stored anyway, and the codec says so
    old = list(value.values()) if kind is dict else value
    new = [
        _without_handles(item, [*path, place], links, id_of) if isinstance(item, _LOOKED_INTO) else item
        for place, item in enumerate(old)
    ]
    if all(a is b for a, b in zip(old, new, strict=True)):
        return value
    if kind is dict:
        return dict(zip(value, new, strict=True))
    return tuple(new) if kind is tuple else new


def _named(codec: Codec, name: str, fn: Callable[..., Any] | None, whole: Any, error: Exception) -> TypeError:
    """Find the argument that the codec refused."""
    args, kwargs = whole
    signature = signature_of(fn, follow_wrapped=True)
    names = [] if signature is None else list(signature.parameters)
    for place, value in [*enumerate(args), *kwargs.items()]:
        try:
            codec.encode(value)
        except (TypeError, ValueError, RecursionError) as reason:
            if isinstance(place, int):
                called = f" ({names[place]})" if place < len(names) else ""
                return TypeError(f"argument {place + 1}{called} of {name!r} cannot be stored: {reason}")
            return TypeError(f"argument {place!r} of {name!r} cannot be stored: {reason}")
    return TypeError(f"the arguments of {name!r} cannot be stored: {error}")


def order(
    context: Context, name: str, kind: str, options: Options, arguments: str = NO_ARGUMENTS, links: Sequence[Link] = ()
) -> Order:
    """All that is stored of a submit."""
    now, id_of = context.now(), context.id_of
    made = Order(name, kind, arguments, now, said=said(options))
    if links:
        made.links = json.dumps(links)
    if options.at is not None:
        made.greenfield = options.at if options.at > now else None
    elif options.delay:
        made.greenfield = now + options.delay
    if options.after or links:
        after = _edges(options, id_of)
        for task_id, _ in links:
            after.setdefault(task_id, (options.on, options.otherwise))
        made.after = [(upstream, on, otherwise) for upstream, (on, otherwise) in after.items()]
    made.before = [id_of(task) for task in options.before]
    if options.key is None and options.key_scope is not None:
        raise ValueError(f"key_scope={options.key_scope!r} says what a key stands for: give a key, or key=True")
    if options.key is not None:
        made.key = options.key if isinstance(options.key, str) else digest(context.codec, arguments, made.links)
        made.key_scope = options.key_scope
    if options.parent is not None:
        made.parent = id_of(options.parent)
    made.tags = options.tags
    if options.own_behaviour:
        made.behaviour = options
    return made


def digest(codec: Codec, arguments: str, links: str | None) -> str:
    """`key=True`: equal arguments give the same key, in whatever order their dicts were made."""
    import hashlib  # slow to import, and needed for `key=True` alone

    return hashlib.sha256(f"{canonical(codec, arguments)}\n{links or ''}".encode()).hexdigest()[:32]


def canonical(codec: Codec, arguments: str) -> str:
    """One text for all that are equal, where the codec can tell."""
    method: Callable[[Any], str] | None = getattr(codec, "canonical", None)
    return arguments if method is None else method(codec.decode(arguments))


def _edges(options: Options, id_of: IdOf) -> dict[int, tuple[str, str]]:
    """upstream → (on, otherwise) as `after` says."""
    if not isinstance(options.after, dict):
        return {id_of(task): (options.on, options.otherwise) for task in options.after}
    return {
        id_of(task): wanted if isinstance(wanted, tuple) else (wanted, options.otherwise)
        for task, wanted in options.after.items()
    }


def name_of(fn: Callable[..., Any]) -> str:
    """Module and qualified name of a function that can be found by them in another process."""
    module, qualname = getattr(fn, "__module__", None), getattr(fn, "__qualname__", None)
    if isinstance(qualname, str) and under(sys.modules.get(module or ""), qualname) is fn:
        module = "__main__" if module == "__mp_main__" else module  # the script, in a process it spawned
        return checked_text("the name of a function", f"{module}.{qualname}")
    raise TypeError(
        f"{fn!r} is not found by module and name after a restart: give it a name with @engine.task(name=…)"
    )
