"""How large what a template makes will be: weighed before it is made.

Lists can hold one another many times over, and some filters and methods write more than they read.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from jinja2 import TemplateRuntimeError
from jinja2.runtime import LoopContext, Namespace

MOST_SIZE = 10_000_000
"""Characters of one value."""
MOST_BITS = 10_000
"""Bits of a whole number."""
DEEPEST = 100
"""Levels of lists in lists."""
ITEM = 10
"""What an entry of a list weighs beside its characters."""
LONGEST_FORMAT = 100_000
WIDE = re.compile(r"[%{][^\s%{}]*?\d{5}")
"""A place of a format string that is to be filled up to five digits of characters."""
CONTAINERS: tuple[type, ...] = (
    list,
    tuple,
    set,
    frozenset,
    dict,
    Namespace,
    type({}.values()),
    type({}.items()),
)


class TemplateLimit(TemplateRuntimeError):
    """A template does too much."""


def weigh(value: Any) -> int:
    """Return how many characters a value has, with all that it holds.

    Raises:
        TemplateLimit: too many, or it is nested too deep.
    """
    return _weigh(value, 0) if isinstance(value, CONTAINERS) else _weigh_one(value)


def refuse_large(size: int) -> None:
    """Refuse a value of this many characters."""
    if size > MOST_SIZE:
        raise TemplateLimit(f"the template makes a value of more than {MOST_SIZE:,} characters")


def refuse_wide(bits: int) -> None:
    """Refuse a whole number of this many bits."""
    if bits > MOST_BITS:
        raise TemplateLimit(f"the template makes a number of more than {MOST_BITS:,} bits")


def refuse_format(text: str | bytes, values: Any) -> None:
    """Refuse a format string with values that would become too large."""
    words = text if isinstance(text, str) else text.decode("latin-1")
    holes = words.count("%") + words.count("{")
    is_variable = "*" in words or re.search(r"\{[^{}]*\{", words)
    if len(words) > LONGEST_FORMAT or WIDE.search(words):
        raise TemplateLimit("the template formats a text of unbounded width")
    if is_variable and any(number > 9999 for number in _numbers(values)):
        raise TemplateLimit("the template formats a text of unbounded width")
    refuse_large(len(words) + holes * (weigh(values) + 10_000 * ("%" in words or ":" in words)))


def _weigh(value: Any, depth: int) -> int:
    if depth > DEEPEST:
        raise TemplateLimit(f"the template nests lists more than {DEEPEST} levels deep")
    if isinstance(value, Namespace):
        value = value._Namespace__attrs  # type: ignore[attr-defined]
    parts = [*value, *value.values()] if isinstance(value, dict) else value
    size = 0
    for part in parts:
        inner = isinstance(part, CONTAINERS)
        size += ITEM + (_weigh(part, depth + 1) if inner else _weigh_one(part))
        refuse_large(size)
    return size


def _weigh_one(value: Any) -> int:
    if isinstance(value, str | bytes):
        return len(value)
    if isinstance(value, int):
        refuse_wide(value.bit_length())
    return 1


def _numbers(values: Any) -> Iterator[int]:
    """The whole numbers among values, which are weighed: so this ends."""
    if isinstance(values, int):
        yield values
    elif isinstance(values, Mapping | list | tuple):
        for value in values.values() if isinstance(values, Mapping) else values:
            yield from _numbers(value)


def _add(size: int, amount: int) -> int:
    return size + amount


def _multiply(size: int, amount: int) -> int:
    return size * (1 + amount)


def _slow(size: int, amount: int) -> int:
    return size * (100 + amount)


def _power(size: int, amount: int) -> int:
    return amount * MOST_BITS


GROWTH: dict[str, Callable[[int, int], int]] = {
    **dict.fromkeys(("center", "ljust", "rjust", "zfill", "to_bytes", "batch", "slice"), _add),
    **dict.fromkeys(("indent", "tojson", "expandtabs", "translate", "hex"), _multiply),
    **dict.fromkeys(("striptags", "urlize", "pprint", "wordwrap", "unescape", "title"), _slow),
    "round": _power,
}
"""Filters and methods that make more than they get, or take long: the size that may come of them.

Its arguments are the size of the value, and the sum of the numbers and lengths of the arguments.
"""


def check_growth(
    name: str, value: Any, args: Sequence[Any], options: Mapping[str, Any]
) -> tuple[Any, ...]:
    """Return the arguments of a filter or of a text's method; refuse what would become too large.

    Iterators among them are read.
    """
    args = tuple(map(read_lazy, args))
    given = [*args, *(item for key, item in options.items() if not key.startswith("_"))]
    if name == "replace":
        texts = [str(item) for item in given[:2] if not isinstance(item, CONTAINERS)]
        if isinstance(value, str | bytes) and len(texts) == 2:
            holes = str(value).count(texts[0]) if texts[0] else len(value) + 1
            refuse_large(len(value) + holes * len(texts[1]))
    elif name == "join":
        between = value if isinstance(value, str | bytes) else "".join(map(str, given[:1]))
        items = given[:1] if isinstance(value, str | bytes) and given else [value]
        refuse_large(weigh(items) + sum(map(_length, items)) * len(between))
    elif name == "sum" and any(isinstance(item, CONTAINERS) for item in given):
        raise TemplateLimit("the template adds up lists")
    elif name == "format":
        refuse_format(str(value), given)
    elif name in GROWTH:
        refuse_large(GROWTH[name](weigh(value), sum(map(_amount, given))))
    return args


def read_lazy(value: Any) -> Any:
    is_lazy = isinstance(value, Iterator) and not isinstance(value, LoopContext)
    return list(value) if is_lazy else value


def _length(value: Any) -> int:
    return len(value) if hasattr(value, "__len__") else 1


def _amount(value: Any) -> int:
    return abs(value) if isinstance(value, int) else weigh(value)
