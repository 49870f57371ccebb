"""Values that a text cell may hold: JSON, or a list as Python, pandas or numpy print it.

In: the text of a cell. Out: plain values. Pure functions.
"""

import ast
import contextlib
import io
import json
import math
import re
import tokenize
from typing import Any

from stages.runtime.context import Drop

NOT_LITERAL = (ValueError, SyntaxError, MemoryError, RecursionError, tokenize.TokenError)
"""What reading a Python literal raises."""
WRITTEN_LISTS = ("[", "{", '"[', '"{', "array(", "defaultdict(", "OrderedDict(")
"""How a text begins that may hold a list or a mapping."""
CONTAINERS = ("array", "defaultdict", "OrderedDict", "Counter", "deque")
NAMES = {"nan": math.nan, "inf": math.inf, "null": None, "true": True, "false": False}
"""Names that numpy and JSON write for values."""
ENDS = (tokenize.NEWLINE, tokenize.NL, tokenize.INDENT, tokenize.DEDENT, tokenize.COMMENT)


class NotStructured(Exception):
    """A text holds no list and no mapping."""


def plain_text(value: Any) -> str:
    """Return a cell as text."""
    return str(value).strip()


def is_empty(value: Any) -> bool:
    """Whether a cell holds nothing: no text, no items, not a number."""
    if isinstance(value, float):
        return math.isnan(value)
    return value is None or (isinstance(value, (str, list, dict)) and not value)


def parse_structured(text: str) -> tuple[Any, str]:
    """Return the list or mapping that a text holds, and how it was written.

    JSON inside JSON is read too. Of Python's values it reads literals, and what numpy, pandas and
    `collections` print around them: `array([...], dtype=object)`, items without commas between.

    Returns:
        The value, and "JSON text" or "Python text".

    Raises:
        NotStructured: it holds neither a list nor a mapping.
        Drop: numpy left a part out (`...`) when it printed the list.
    """
    stripped = _without_class(text.strip().lstrip("\ufeff"))
    if not stripped.startswith(WRITTEN_LISTS):
        raise NotStructured
    with contextlib.suppress(ValueError, RecursionError):
        value = json.loads(stripped)
        for _ in range(2):
            if isinstance(value, str):
                value = json.loads(value)
        if isinstance(value, (list, dict)):
            return value, "JSON text"
    with contextlib.suppress(*NOT_LITERAL):
        value = _read_python(stripped)
        if isinstance(value, (list, dict)):
            return value, "Python text"
    raise NotStructured


def _read_python(text: str) -> Any:
    """Read a Python literal.

    Raises:
        ValueError, SyntaxError, ...: it is none (`NOT_LITERAL`).
    """
    return _evaluate(ast.parse(_with_commas(text), mode="eval").body)


def _with_commas(text: str) -> str:
    """Put commas where numpy leaves blanks between the items of a list.

    Python joins neighbouring texts, so ['a' 'b'] would be one item.
    """
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    pieces: list[str] = []
    before: tokenize.TokenInfo | None = None
    for token in tokens:
        if token.type in ENDS or token.type == tokenize.ENDMARKER:
            continue
        if before is not None and _ends_value(before) and _starts_value(token, before):
            pieces.append(",")
        pieces.append(token.string)
        before = token
    return " ".join(pieces)


def _ends_value(token: tokenize.TokenInfo) -> bool:
    if token.type in (tokenize.STRING, tokenize.NUMBER):
        return True
    return token.string in ("}", "]", ")", "...") or _is_constant(token)


def _starts_value(token: tokenize.TokenInfo, before: tokenize.TokenInfo) -> bool:
    if token.type in (tokenize.STRING, tokenize.NUMBER) or _is_constant(token):
        return True
    if token.string == "-":
        # numpy writes [0.1 -0.2] for two numbers.
        touches = token.line[token.end[1] : token.end[1] + 1] not in (" ", "")
        return touches and token.start != before.end
    return token.string in ("{", "[", "...")


def _is_constant(token: tokenize.TokenInfo) -> bool:
    return token.type == tokenize.NAME and token.string in ("None", "True", "False", "nan", "null")


def _evaluate(node: ast.expr) -> Any:
    """Return the value of a literal, seeing through the calls that printed containers show.

    Raises:
        ValueError: it is not a literal.
        Drop: a part was left out.
    """
    match node:
        case ast.Constant(value=value):
            if value is ...:
                raise Drop("a list that was cut when it was written", "it holds '...'")
            return value
        case ast.List(elts=items) | ast.Tuple(elts=items) | ast.Set(elts=items):
            return [_evaluate(item) for item in items]
        case ast.Dict(keys=keys, values=values):
            pairs = zip(keys, values, strict=True)
            return {_evaluate(key): _evaluate(value) for key, value in pairs if key is not None}
        case ast.Name(id=name) if name in NAMES:
            return NAMES[name]
        case ast.Call(func=function, args=arguments) if arguments and _is_container(function):
            # array([...], dtype=object), np.float64(0.5), defaultdict(<class>, {...})
            return _evaluate(arguments[-1])
    return ast.literal_eval(node)


def _is_container(function: ast.expr) -> bool:
    """Whether a call only shows the type of the value in it."""
    name = ast.unparse(function)
    return name in CONTAINERS or name.startswith(("np.", "numpy."))


def _without_class(text: str) -> str:
    """Return the text of a printed defaultdict without the class that it names."""
    return re.sub(r"^defaultdict\(<class '\w+'>, (.*)\)$", r"\1", text, flags=re.DOTALL)
