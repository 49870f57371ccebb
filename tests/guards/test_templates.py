"""Templates of users and of models: what they may do, and what is refused before it is done."""

import random
import re
import time
from pathlib import Path

import pytest

from stages.generators.chat import bound_chat_templates, render_chat
from stages.guards import sandbox
from stages.guards.errors import UserError
from stages.guards.template_sizes import TemplateLimit
from stages.guards.templates import compile_template, find_template, render, render_source
from stages.runtime.generation import RowFailure
from tests.fuzz.templates import draw_template

MESSAGES = [{"role": "user", "content": "Why?"}]
DOUBLE = "{% set ns = namespace(x='ab') %}{% for i in range(99) %}{% set ns.x = MADE %}{% endfor %}"


def run(source, **variables):
    environment = sandbox.BoundedEnvironment()
    return environment.from_string(source).render(messages=MESSAGES, text="words", **variables)


@pytest.mark.parametrize(
    "made",
    [
        "'a' * 10**10",
        "[1] * 10**9",
        "10**9 * (1,)",
        "7 ** (9 ** 9)",
        "'%999999999d' % 1",
        "'%*d' % (999999999, 1)",
        "'{:>999999999}'.format(1)",
        "'{:>{}}'.format(1, 999999999)",
        "'{a:>999999999}'.format_map({'a': 1})",
        "'%999999999d'|format(1)",
        "'a'|center(10**9)",
        "'a'|center(width=10**9)",
        "'a'.ljust(10**9)",
        "'a' | e | attr('center')(10**9)",
        "'\\t'.expandtabs(10**9)",
        "(1).to_bytes(10**9, 'big')",
        "'a\\na'|indent(10**9)",
        "('a' * 100000).replace('a', 'a' * 100000)",
        "('a' * 100000)|replace('', 'a' * 100000)",
        "(['a'] * 100000)|join('x' * 1000)",
        "('x' * 1000).join('a' * 100000)",
        "('a' * 100000).translate({97: 'b' * 100000})",
        "[1]|tojson(indent=10**9)",
        "[1]|batch(10**9, 'x')|list",
        "[1]|slice(10**9)|list",
        "['a']|map('center', 10**9)|list",
        "([[1]] * 100000)|sum(start=[])",
        "5|round(-999999999)",
        "('<a>' * 1000000)|striptags",
    ],
)
def test_what_would_be_too_large_is_refused_before_it_is_made(made):
    start = time.thread_time()
    for source in ("{{ MADE }}", "{% set x = MADE %}", "{% if MADE == text %}{% endif %}"):
        with pytest.raises(TemplateLimit):
            run(source.replace("MADE", made))
    assert time.thread_time() - start < 1


@pytest.mark.parametrize(
    "made",
    [
        "ns.x ~ ns.x",
        "ns.x + ns.x",
        "[ns.x, ns.x]",
        "(ns.x, ns.x)",
        "{'a': ns.x, 'b': ns.x}",
        "[ns.x, ns.x]|join",
        "'%s%s' % (ns.x, ns.x)",
        "'{0}{0}'.format(ns.x)",
        "ns.x * 2",
    ],
)
def test_what_doubles_in_a_loop_ends(made):
    with pytest.raises(TemplateLimit):
        run(DOUBLE.replace("MADE", made) + "{{ ns.x }}")


@pytest.mark.parametrize(
    "source",
    [
        "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
        "{% for i in range(100000) %}{% for j in range(100000) if j < 0 %}{% endfor %}{% endfor %}",
        "{% macro f(n) %}{% if n %}{{ f(n-1) }}{{ f(n-1) }}{% endif %}{% endmacro %}{{ f(60) }}",
        "{% set a = 'a' * 9000000 %}{% for i in range(100000) %}{% set b = 'b' in a %}{% endfor %}",
    ],
)
def test_a_loop_without_end_takes_a_second_or_two(source, monkeypatch):
    monkeypatch.setattr(sandbox, "MOST_SECONDS", 0.2)
    start = time.thread_time()
    with pytest.raises(TemplateLimit, match="seconds"):
        run(source)
    assert time.thread_time() - start < 1


def test_a_long_constant_in_a_loop_is_counted():
    body = "x" * 9000
    with pytest.raises(TemplateLimit, match="makes a value"):
        run(f"{{% for i in range(100000) %}}{body}{{% endfor %}}")


def test_what_templates_do_is_as_before():
    source = (
        "{% for m in ms if m.a > 1 %}{{ loop.index }}/{{ loop.length }}{{ m.a ~ 'x' }}"
        "{{ '!' if loop.last }}{% endfor %}{% set ns = namespace(n=1) %}{% set ns.n = ns.n + 1 %}"
        "{{ ns.n }} {{ {'a': [1, text]}|tojson }} {{ ms|map(attribute='a')|join(',') }} "
        "{{ ms[::-1]|length }} {{ '%s-%3d' % (text, 5) }} {{ '{}'.format(text) }} "
        "{% macro m(x) %}<{{ x }}{{ caller() }}>{% endmacro %}{% call m(1) %}in{% endcall %} "
        "{% set block %}{{ text|upper }}{% endset %}{{ block }} {{ text is string }}"
    )
    written = run(source, ms=[{"a": 1}, {"a": 2}, {"a": 3}])
    assert written == ('1/22x2/23x!2 {"a": [1, "words"]} 1,2,3 3 words-  5 words <1in> WORDS True')


@pytest.mark.parametrize("seed", range(12))
def test_templates_drawn_at_random_end_in_a_text_or_a_clear_error(seed, monkeypatch):
    monkeypatch.setattr(sandbox, "MOST_SECONDS", 0.2)
    source = draw_template(random.Random(seed))
    start = time.thread_time()
    try:
        render_source(source, "mine.jinja", messages=MESSAGES, text="words")
    except UserError as error:
        assert re.match(r"mine\.jinja(:\d+)?: the template ", str(error))
    assert time.thread_time() - start < 3


def test_errors_name_the_line(tmp_path):
    mine = tmp_path / "mine.jinja"
    mine.write_text("one\ntwo {{ nothing }}\n")
    with pytest.raises(UserError, match=rf"{mine}:2: the template cannot be rendered: 'nothing'"):
        render(str(mine), request="r")
    mine.write_text("one\n\n{% if %}")
    with pytest.raises(UserError, match=rf"{mine}:3: the template does not parse"):
        render(str(mine))


@pytest.mark.parametrize(
    "source", ["{% for i in x %}" * 30 + "{% endfor %}" * 30, "{{ " + "(" * 9000]
)
def test_a_source_that_is_too_complex_does_not_parse(source):
    with pytest.raises(UserError, match="does not parse"):
        compile_template(source, "deep.jinja")


@pytest.mark.parametrize("name", ["/etc/passwd", "mine.txt", "mine", "a\0.jinja", "", "~/.netrc"])
def test_what_is_not_called_a_template_is_not_read(name, monkeypatch):
    monkeypatch.setattr(Path, "read_text", None)
    with pytest.raises(UserError):
        find_template(name)


def test_a_template_that_is_no_text_is_refused(tmp_path):
    mine = tmp_path / "mine.jinja"
    mine.write_bytes(b"one\n\xff\xfe")
    with pytest.raises(UserError, match=r"mine\.jinja:2: the file is not UTF-8"):
        render(str(mine))
    mine.write_bytes(b"x" * 2**21)
    with pytest.raises(UserError, match="too large"):
        render(str(mine))


class Tokenizer:
    """Renders as transformers' tokenizers do."""

    def __init__(self, template):
        self.chat_template = template

    def apply_chat_template(self, messages, tokenize, **variables):
        from transformers.utils.chat_template_utils import render_jinja_template

        texts, _ = render_jinja_template([messages], chat_template=self.chat_template, **variables)
        return texts[0]


def test_transformers_compiles_chat_templates_in_the_bounded_sandbox():
    from transformers.utils import chat_template_utils

    bound_chat_templates()
    compiled = chat_template_utils._compile_jinja_template("{{ messages }}")
    assert isinstance(compiled.environment, sandbox.BoundedEnvironment)
    marked = "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}"
    assert render_chat(Tokenizer(marked), MESSAGES) == "Why?"


@pytest.mark.parametrize(
    "template",
    [
        "{{ 'a' * 10**10 }}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{% for m in messages %}{% endfor %}{% for i in range(10**9) %}{% endfor %}",
        "{{ messages[7].content }}",
        "{{ raise_exception('not these') }}",
        "{{ '%s' % missing.name }}",
        "{% if %}",
        "x" * 200_000,
    ],
)
def test_a_chat_template_that_asks_for_too_much_refuses_the_row(template):
    with pytest.raises(RowFailure, match="the model's chat template refuses its turns"):
        render_chat(Tokenizer(template), MESSAGES)


@pytest.mark.parametrize("written", [None, 7, ["a"], b"a", {"input_ids": [1]}])
def test_a_chat_template_that_writes_no_text_refuses_the_row(written):
    tokenizer = Tokenizer("{{ messages }}")
    tokenizer.apply_chat_template = lambda *args, **options: written
    with pytest.raises(RowFailure, match="it writes no text"):
        render_chat(tokenizer, MESSAGES)
