"""Hostile templates, drawn at random: loops, recursion, and what grows without end."""

import random

HUGE = ["10**9", "10**10", "999999999", "2**40", "10**7", "100000"]
TEXTS = ["'a'", "'a' * 1000", "'<a> ' * 9000", "'a\\n\\t' * 3000", "'\\U0001f600' * 5000", "text"]
LISTS = [
    "[1]",
    "range(100000)",
    "['a'] * 1000",
    "messages",
    "[[1], [2]]",
    "'abc' * 999",
    "{'a': 1}",
]
GROWING = [
    "({text}) * ({huge})",
    "[({text})] * ({huge})",
    "(({text}),) * ({huge})",
    "({huge}) ** ({huge})",
    "'%{huge}d' % 1",
    "'%*d' % ({huge}, 1)",
    "('%s' * 500) % (({text}),)",
    "'{{:>{{}}}}'.format(1, {huge})",
    "'{{0:>999999999}}'.format({text})",
    "({text})|center({huge})",
    "({text}).ljust({huge})",
    "({text}).zfill({huge})",
    "({text}).expandtabs({huge})",
    "({text})|indent({huge}, true)",
    "({text})|indent('x' * ({huge}))",
    "({text})|replace('a', 'b' * 900000)",
    "({text}).replace('', ({text}))",
    "({text})|wordwrap(1, wrapstring='x' * 90000)",
    "({text}).translate({{97: 'b' * 900000}})",
    "({text})|urlize|urlize|e|e|e|urlencode",
    "({text})|striptags|title|wordcount",
    "({list})|join(({text}) * 300)",
    "(({text}) * 300).join(['a'] * 90000)",
    "({list})|map('center', {huge})|list",
    "({list})|batch({huge}, 'x')|list",
    "({list})|slice({huge})|list",
    "({list})|sum(start=[])",
    "({list})|sort|unique|groupby('a')|list",
    "({list})|tojson(indent={huge})",
    "({list})|pprint|pprint",
    "({list})|string * ({huge})",
    "5|round(-({huge}))",
    "(1).to_bytes({huge}, 'big')",
    "lipsum({huge})",
    "range({huge})|list",
    "cycler(*range(100000)).next()",
    "namespace(a=({list}), b=({list}))|string",
    "dict(a=({text}) * 900)|xmlattr",
    "({text})[::-1] == ({text})",
    "strftime_now('%999999999d')",
]
DOUBLING = [
    "{ns} ~ {ns}",
    "{ns} + {ns}",
    "[{ns}, {ns}]",
    "({ns}, {ns})",
    "{{'a': {ns}, 'b': {ns}}}",
    "[{ns}, {ns}]|string",
    "[{ns}, {ns}]|join",
    "'%s%s' % ({ns}, {ns})",
    "'{{0}}{{0}}'.format({ns})",
    "{ns} * 3",
    "({ns},)",
    "{ns}|e",
    "{ns}|replace('a', 'aa')",
]
FRAMES = [
    "{% for i in range(100000) %}BODY{% endfor %}",
    "{% for i in range(300) %}{% for j in range(9999) if j % 2 %}BODY{% endfor %}{% endfor %}",
    "{% for i in [1] recursive %}BODY{{ loop([1, 1]) }}{% endfor %}",
    "{% macro f(n) %}BODY{% if n %}{{ f(n-1) }}{{ f(n-1) }}{% endif %}{% endmacro %}{{ f(50) }}",
    "{% macro f() %}BODY{{ f() }}{% endmacro %}{{ f() }}",
    "{% set x %}BODY{% endset %}{{ x * 9 }}",
    "{% filter upper %}BODY{% endfilter %}",
    "{% block b %}BODY{{ self.b() }}{% endblock %}",
    "{% if messages %}BODY{% else %}{% include 'x' %}{% endif %}",
    "BODY",
]
BROKEN = [
    "{{ '' .__class__.__mro__[1].__subclasses__() }}",
    "{{ messages.append(1) }}",
    "{{ undefined.x }}",
    "{{ 1 / 0 }}",
    "{{ raise_exception('no') }}",
    "{% import 'os' as os %}",
    "{% for %}",
    "{{ " + "(" * 400,
    "{{ " + "not " * 3000 + "1 }}",
    "{% if 1 %}" * 60,
    "{{ 1" + " + 1" * 3000 + " }}",
    "\x00\ud800{{ text }}",
    "plain " * 30000,
]


def draw_template(rng: random.Random) -> str:
    """Return the source of a template that asks for too much, or is broken."""
    kind = rng.random()
    if kind < 0.1:
        body = rng.choice(BROKEN)
    elif kind < 0.4:
        start = rng.choice(["'a'", "['a']", "('a',)", "3", "text"])
        made = rng.choice(DOUBLING).format(ns="ns.x")
        times = rng.choice([40, 90000])
        body = (
            f"{{% set ns = namespace(x={start}) %}}{{% for i in range({times}) %}}"
            f"{{% set ns.x = {made} %}}{{% endfor %}}{{{{ ns.x }}}}{{{{ {{ns.x: 1}} }}}}"
        )
    else:
        made = rng.choice(GROWING).format(
            text=rng.choice(TEXTS), list=rng.choice(LISTS), huge=rng.choice(HUGE)
        )
        use = rng.choice(["{{ MADE }}", "{% set y = MADE %}", "{% if MADE == text %}{% endif %}"])
        body = use.replace("MADE", made)
    return rng.choice(FRAMES).replace("BODY", body)
