"""A sandbox for templates with limits: of steps, of time, and of the size of every value.

Templates of users and of models are programs. jinja2's own sandbox keeps them from running other
code; it does not keep them from looping, or from building gigabytes. Here every repetition and
call counts as a step, and nothing is built before it is clear how large it will be.
"""

import functools
import time
from collections.abc import Callable, Iterable
from typing import Any, cast

from jinja2 import TemplateSyntaxError, nodes, pass_context
from jinja2.defaults import DEFAULT_FILTERS, DEFAULT_TESTS
from jinja2.runtime import Context, markup_join, str_join
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from stages.guards.template_sizes import (
    CONTAINERS,
    GROWTH,
    MOST_SIZE,
    TemplateLimit,
    check_growth,
    read_lazy,
    refuse_format,
    refuse_large,
    refuse_wide,
    weigh,
)

MOST_SOURCE = 100_000
"""Characters of a template."""
MOST_TOTAL = 6 * MOST_SIZE
"""Characters of all values of a rendering together."""
MOST_STEPS = 2_000_000
MOST_SECONDS = 2.0
"""Seconds of work, not of waiting for the processor."""
STEPS_A_LOOK = 64
INNER = " "
"""Begins the names of filters that are written into templates here; no author can type them."""
LIGHT = (bool, type(None), float)


class Budget:
    """What one rendering may still do.

    Attributes:
        steps: repetitions, calls and filters so far.
        total: characters of all values so far.
        start: seconds that this thread had worked when the rendering began.
    """

    def __init__(self) -> None:
        self.steps = 0
        self.total = 0
        self.start = time.thread_time()
        self._next_look = STEPS_A_LOOK

    def spend(self, steps: int = 1) -> None:
        """Count steps.

        Raises:
            TemplateLimit: they are too many, or took too long.
        """
        self.steps += steps
        if self.steps >= self._next_look:
            self._look()

    def note(self, value: Any) -> Any:
        """Count a value that was made, and return it.

        Raises:
            TemplateLimit: it is too large, or all values together are.
        """
        kind = type(value)
        size = len(value) if kind is str else 1 if kind in LIGHT else weigh(value)
        self.total += size
        self.steps += 1 + size // 1000
        if self.steps >= self._next_look or self.total > MOST_TOTAL:
            refuse_large(size)
            self._look()
        return value

    def _look(self) -> None:
        self._next_look = self.steps + STEPS_A_LOOK
        if self.total > MOST_TOTAL:
            raise TemplateLimit(f"the template makes more than {MOST_TOTAL:,} characters")
        if self.steps > MOST_STEPS:
            raise TemplateLimit(f"the template takes more than {MOST_STEPS:,} steps")
        if time.thread_time() - self.start > MOST_SECONDS:
            raise TemplateLimit(f"the template takes more than {MOST_SECONDS:g} seconds")


class BoundedContext(Context):
    """The variables of one rendering, with its budget.

    Attributes:
        budget: shared with the contexts that are derived of this one.
        itself: this context, for filters that want it.
    """

    def __init__(self, *args: Any, **options: Any):
        super().__init__(*args, **options)
        self.budget = Budget()
        self.itself = self

    def derived(self, locals: dict[str, Any] | None = None) -> "BoundedContext":
        """See `Context.derived`: the same rendering, so the same budget."""
        context = cast(BoundedContext, super().derived(locals))
        context.budget = self.budget
        return context


class _Functions(dict[str, Any]):
    """Filters or tests by name; each of them counts."""

    def __setitem__(self, name: str, function: Any) -> None:
        super().__setitem__(name, _counting(name, function))


def join_limited(parts: Iterable[str]) -> str:
    """Join what a template writes.

    Raises:
        TemplateLimit: it is too large.
    """
    written = []
    size = 0
    for part in parts:
        size += len(part)
        refuse_large(size)
        written.append(part)
    return "".join(written)


class BoundedEnvironment(ImmutableSandboxedEnvironment):
    """jinja2's sandbox, in which every rendering has a budget.

    Counting takes three ways: jinja2 asks a sandbox before each call and each operator; filters and
    tests are replaced by ones that count; and what jinja2 asks nobody about (loops, `~`, slices,
    comparisons, lists, constants) gets a filter when the template is parsed.
    """

    concat = staticmethod(join_limited)
    intercepted_binops = frozenset(["+", "-", "*", "/", "//", "**", "%"])
    context_class = BoundedContext

    def __init__(self, *args: Any, **options: Any):
        super().__init__(*args, finalize=_note, **options)
        del self.globals["lipsum"]
        self.filters, self.tests = _Functions(), _Functions()
        for counted, functions in ((self.filters, DEFAULT_FILTERS), (self.tests, DEFAULT_TESTS)):
            for name, function in functions.items():
                counted[name] = function
        dict.update(self.filters, INNER_FILTERS)

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        if len(source) > MOST_SOURCE:
            words = f"the template has {len(source):,} characters, more than {MOST_SOURCE:,}"
            raise TemplateSyntaxError(words, 1)
        tree: nodes.Template = _Counter().visit(super()._parse(source, name, filename))
        tree.set_environment(self)
        return tree

    def compile(self, source: Any, *args: Any, **options: Any) -> Any:
        """See `Environment.compile`.

        Raises:
            TemplateSyntaxError: the source is not valid, or too long or nested too deep.
        """
        try:
            return super().compile(source, *args, **options)
        except (RecursionError, MemoryError, SyntaxError, ValueError, OverflowError) as error:
            words = f"the template is too complex: {str(error) or type(error).__name__}"
            raise TemplateSyntaxError(words, 1) from None

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """See `SandboxedEnvironment.call_binop`."""
        if operator == "*":
            for value, times in ((left, right), (right, left)):
                if isinstance(times, int) and isinstance(value, str | bytes | list | tuple):
                    refuse_large(weigh(value) * times)
        elif operator == "**" and isinstance(left, int) and isinstance(right, int):
            refuse_wide(left.bit_length() * right)
        elif operator == "%" and isinstance(left, str | bytes):
            refuse_format(left, right)
        made = self.binop_table[operator](left, right)
        return _budget(context).note(made)

    def call(__self, __context: Context, __obj: Any, *args: Any, **options: Any) -> Any:
        """See `SandboxedEnvironment.call`."""
        budget = _budget(__context)
        budget.spend()
        owner = getattr(__obj, "__self__", None)
        if isinstance(owner, str | bytes | int):
            args = check_growth(__obj.__name__, owner, args, options)
        return budget.note(super().call(__context, __obj, *args, **options))

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """See `SandboxedEnvironment.wrap_str_format`."""
        write = super().wrap_str_format(value)
        if write is None:
            return None

        def bounded(*args: Any, **options: Any) -> str:
            given = {name: item for name, item in options.items() if not name.startswith("_")}
            refuse_format(value.__self__, [args, given])
            return write(*args, **options)

        return functools.update_wrapper(bounded, write)


def _budget(context: Context) -> Budget:
    return cast(BoundedContext, context).budget


def _counting(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a filter or a test that counts.

    Args:
        name: of it.
        function: jinja2's, or a library's own; it may want the context as its first argument.
    """
    passed = getattr(function, "jinja_pass_arg", None)
    leads = {"environment": "environment", "eval_context": "eval_ctx", "context": "itself"}
    lead = leads[passed.name] if passed else ""
    is_growing = name in GROWTH

    @pass_context
    def counting(context: BoundedContext, value: Any, *args: Any, **options: Any) -> Any:
        if type(value) is not str:
            value = read_lazy(value)
            if isinstance(value, CONTAINERS):
                context.budget.note(value)
        if args or options or is_growing:
            args = check_growth(name, value, args, options)
        if lead:
            args = (value, *args)
            value = getattr(context, lead)
        return context.budget.note(function(value, *args, **options))

    return counting


@pass_context
def _note(context: BoundedContext, value: Any) -> Any:
    return context.budget.note(value)


@pass_context
def _step(context: BoundedContext, value: Any) -> Any:
    context.budget.spend(1 + len(value) // 1000 if type(value) is str else 1)
    return value


@pass_context
def _write(context: BoundedContext, data: str, size: int) -> str:
    context.budget.total += size
    return data


@pass_context
def _concatenate(context: BoundedContext, parts: list[Any]) -> str:
    refuse_large(weigh(parts))
    join = markup_join if context.eval_ctx.autoescape else str_join
    return cast(str, context.budget.note(join(parts)))


INNER_FILTERS = {
    f"{INNER}step": _step,
    f"{INNER}note": _note,
    f"{INNER}write": _write,
    f"{INNER}concatenate": _concatenate,
}


class _Counter(NodeTransformer):
    """Writes counting into a template, wherever jinja2 asks nobody.

    A loop takes a step each time; a constant counts each time it is written; a comparison or a
    search may have to read two long values; a slice, a list and a joined text are new values.
    """

    def visit_For(self, node: nodes.For) -> nodes.Node:
        self.generic_visit(node)
        step = _filter(nodes.Const(True, lineno=node.lineno), "step")
        node.body.insert(0, nodes.ExprStmt(step, lineno=node.lineno))
        if node.test:
            node.test = nodes.And(step, node.test, lineno=node.lineno)
        return node

    def visit_Output(self, node: nodes.Output) -> nodes.Node:
        self.generic_visit(node)
        data = [part for part in node.nodes if isinstance(part, nodes.TemplateData)]
        if data:
            size = nodes.Const(sum(len(part.data) for part in data), lineno=node.lineno)
            node.nodes[node.nodes.index(data[0])] = _filter(data[0], "write", size)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        return _filter(nodes.List(node.nodes, lineno=node.lineno), "concatenate")

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:
        self.generic_visit(node)
        sides = [node.expr, *(operand.expr for operand in node.ops)]
        is_search = any(operand.op in ("in", "notin") for operand in node.ops)
        # To compare with a word takes no time, and is most of what chat templates do.
        if is_search or not any(isinstance(side, nodes.Const) for side in sides):
            node.expr = _filter(node.expr, "step")
        return node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:
        self.generic_visit(node)
        return _filter(node, "note") if isinstance(node.arg, nodes.Slice) else node

    def _visit_container(self, node: Any) -> nodes.Node:
        self.generic_visit(node)
        is_plain = all(isinstance(item, nodes.Const) for item in node.items)
        return node if is_plain or getattr(node, "ctx", "") == "store" else _filter(node, "note")

    visit_List = visit_Tuple = visit_Dict = _visit_container


def _filter(node: nodes.Expr, name: str, *args: nodes.Expr) -> nodes.Filter:
    return nodes.Filter(node, f"{INNER}{name}", list(args), [], None, None, lineno=node.lineno)
