"""A Python function that a config names as `module:function`: found, checked and called.

Such functions are trusted and run as they are; what they raise is a message, not a traceback.
"""

import importlib
import inspect
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

from stages.guards.errors import UserError
from stages.pretrained.provenance import module_identity


def is_function(source: str) -> bool:
    """Whether a source of rows names a function, `package.module:function`, and not a file."""
    module, _, function = source.partition(":")
    names = [*module.split("."), function]
    return all(name.isidentifier() for name in names) and not os.path.isfile(source)


def find_function(path: str, where: str, *arguments: Any, **keywords: Any) -> Callable[..., Any]:
    """Return the function that `module:function` names.

    Args:
        arguments, keywords: what it will be called with; their number and names are checked.

    Raises:
        UserError: there is no such module or function, or it does not take these arguments.
    """
    module, _, name = path.partition(":")
    if not module or not name:
        raise _refused(path, "is not of the form module:function", where)
    try:
        function = getattr(importlib.import_module(module), name, None)
    except (Exception, SystemExit) as error:
        raise _refused(path, f"cannot be imported: {_describe(error)}", where) from None
    if not callable(function):
        raise _refused(path, "names no function: the module has no such function", where)
    try:
        inspect.signature(function).bind(*arguments, **keywords)
    except TypeError as error:
        raise _refused(path, f"cannot be called: {error}", where) from None
    except ValueError:  # written in C, without a signature
        pass
    return function


def function_identity(path: str) -> dict[str, Any]:
    """Return what identifies a function that was found: its module's version and content."""
    return module_identity(sys.modules[path.partition(":")[0]])


def call(function: Callable[..., Any], path: str, *arguments: Any, **keywords: Any) -> Any:
    """Call a function of the user's.

    Raises:
        UserError: it raises; the message names the line.
    """
    try:
        return function(*arguments, **keywords)
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        line = traceback.extract_tb(error.__traceback__)[-1]
        raise UserError(
            f"the function cannot be called: it raised {_describe(error)}",
            where=f"{path} ({line.filename}:{line.lineno})",
            fix="correct the function, or what it is given",
        ) from None


def _refused(path: str, fault: str, where: str) -> UserError:
    fix = "give the import path of a function, such as stages.world:check"
    return UserError(f"{path!r} {fault}", where=where, fix=fix)


def _describe(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
