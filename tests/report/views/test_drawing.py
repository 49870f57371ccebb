"""The drawing of a pipeline: steps below their inputs, lines beside the boxes, what was made and
what was reused.
"""

import dataclasses
import random
import re
from itertools import combinations
from xml.etree import ElementTree

import pytest

from stages import STAGES
from stages.report.views.drawing import BOX, HIGH, draw
from stages.report.views.layout import arrange, columns_of, levels_of
from stages.report.views.names import shorten
from stages.report.views.steps import EXTERNAL, MADE, REUSED, Step, describe_reuse, steps_of
from stages.runtime.artifacts import Result
from stages.runtime.pipeline.steps import join_sections, read_steps
from tests.evaluation import fakes
from tests.test_configs import composed

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "</svg><script>alert('x')</script> & \"quoted\" \x00\x1b\u2028\ufffe {{ 7*7 }}"
CHAIN = [[], [0], [1], [0, 2], [0]]  # 0 is read by 1, 3 and 4; 3 is the last


def step(name, inputs=(), origin=MADE, **options):
    names = {number: ["input"] for number in inputs}
    facts = {
        "stage": "respond",
        "seconds": 1.0,
        "calls": None,
        "output": "9 rows",
        "kind": "",
        "details": "details",
    } | options
    return Step(name=name, origin=origin, inputs=names, **facts)


def steps_like(inputs):
    return [step(f"step_{i}", sources) for i, sources in enumerate(inputs)]


def pipeline(name, *overrides):
    """The inputs of a shipped pipeline's steps, as numbers."""
    read = read_steps(join_sections(composed(f"pipeline={name}", *overrides)["pipeline"]), STAGES)
    number = {each.name: i for i, each in enumerate(read)}
    return [sorted({number[source] for source in each.inputs.values()}) for each in read]


def any_graph(count, seed):
    chance = random.Random(seed)
    return [
        sorted(chance.sample(range(i), min(i, chance.choice([0, 1, 1, 2, 3, 6]))))
        for i in range(count)
    ]


def drawing(steps):
    return ElementTree.fromstring(
        draw(steps).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    )


def boxes(svg):
    rectangles = [rect for rect in svg.iter(f"{SVG}rect") if rect.get("class") == "box"]
    return [(float(rect.get("x")), float(rect.get("y"))) for rect in rectangles]


def points(path):
    """Places along a path of moves, curves and vertical lines."""
    places, x, y = [], 0.0, 0.0
    for command, numbers in re.findall(r"([MCV])([^MCV]+)", path):
        values = [float(number) for number in numbers.split()]
        if command == "M":
            x, y = values
            places.append((x, y))
            continue
        ends = values if command == "C" else [x, y, x, values[0], x, values[0]]
        for i in range(1, 21):
            t = i / 20
            weights = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3)
            curves = [(x, *ends[0::2]), (y, *ends[1::2])]
            places.append(
                tuple(sum(w * p for w, p in zip(weights, curve, strict=True)) for curve in curves)
            )
        x, y = ends[-2:]
    return places


GRAPHS = {
    "one": [[]],
    "apart": [[], [], [], []],
    "chain": CHAIN,
    "deep": [[i - 1] if i else [] for i in range(45)],
    "wide": [[], *([0] for _ in range(43)), list(range(44))],
    "any": any_graph(45, 1),
    "more": any_graph(30, 2),
}
SHIPPED = {
    "cai": (),
    "salmon": (),
    "optimisers": (),
    "benchmarks": (),
    "raft": ("scale.iterations=8",),
}


@pytest.mark.parametrize("name", [*GRAPHS, *SHIPPED])
def test_any_pipeline_is_drawn_whole_and_without_collisions(name):
    inputs = GRAPHS[name] if name in GRAPHS else pipeline(name, *SHIPPED[name])
    svg = drawing(steps_like(inputs))
    placed = boxes(svg)
    assert len(placed) == len(inputs)
    titles = [title.text for title in svg.iter(f"{SVG}title")]
    assert len(titles) == len(set(titles)) == len(inputs) + sum(map(len, inputs))
    for user, sources in enumerate(inputs):
        for source in sources:
            assert f"step_{source} \u2192 step_{user} (input)" in titles
            assert placed[source][1] + HIGH < placed[user][1], "inputs stand above"
    for a, b in combinations(placed, 2):
        assert abs(a[0] - b[0]) >= BOX or abs(a[1] - b[1]) >= HIGH, "boxes overlap"
    lines = [path for path in svg.iter(f"{SVG}path") if path.get("class") == "line"]
    left, top, width, height = map(float, svg.get("viewBox").split())
    for x, y in [place for path in lines for place in points(path.get("d"))]:
        assert not any(x0 < x < x0 + BOX and y0 + 0.1 < y < y0 + HIGH - 0.1 for x0, y0 in placed), (
            "a line through a box"
        )
        assert left <= x <= left + width and top <= y <= top + height
    assert all(
        left <= x and x + BOX <= left + width and y + HIGH <= top + height for x, y in placed
    )


@pytest.mark.parametrize("name", [*GRAPHS, *SHIPPED])
def test_the_layout_follows_the_inputs_and_the_order_of_the_pipeline(name):
    inputs = GRAPHS[name] if name in GRAPHS else pipeline(name, *SHIPPED[name])
    layout = arrange([set(sources) for sources in inputs], BOX, HIGH)
    for step, sources in enumerate(inputs):
        above = [layout.levels[source] for source in sources]
        assert layout.levels[step] == max(above, default=-1) + 1
    for level in set(layout.levels):
        middles = [layout.middles[i] for i, at in enumerate(layout.levels) if at == level]
        assert middles == sorted(middles)
    for source, x in layout.trunks.items():
        users = [layout.levels[user] for user, sources in enumerate(inputs) if source in sources]
        for step, level in enumerate(layout.levels):
            if layout.levels[source] < level < max(users):
                assert abs(layout.middles[step] - x) > BOX / 2, "a line through a box"
    for (one, x), (other, x2) in combinations(layout.trunks.items(), 2):
        if x == x2:
            ends = [
                max(layout.levels[user] for user, sources in enumerate(inputs) if source in sources)
                for source in (one, other)
            ]
            starts = layout.levels[one], layout.levels[other]
            assert ends[0] <= starts[1] or ends[1] <= starts[0], "two lines on each other"


def test_a_level_is_the_longest_way_from_a_source():
    assert levels_of([[], [], [0], [2], [1, 3], [2]]) == [0, 0, 1, 2, 3, 2]
    assert columns_of([0, 0, 1, 2, 3, 2]) == [0, 1, 0, 0, 0, 1]


def test_a_line_goes_straight_down_where_nothing_stands_and_beside_the_boxes_elsewhere():
    layout = arrange(CHAIN, 100, 60)
    assert layout.levels == [0, 1, 2, 3, 1]
    assert list(layout.trunks) == [0], "one line for all users"
    assert 50 < layout.trunks[0] - layout.middles[1] < 100
    beside = arrange([[], [], [0], [2], [1, 3]], 100, 60)
    assert beside.trunks == {1: beside.middles[1]}


def test_made_reused_and_existing_differ_in_more_than_colour():
    asking = step("b", [1], MADE, kind="asks", calls=1200, seconds=3000.0)
    svg = drawing([step("m", origin=EXTERNAL), step("a", [0], REUSED), asking])
    groups = [group.get("class") for group in svg.findall(f"{SVG}g")]
    assert groups == ["step external", "step reused", "step made"]
    rounding = [rect.get("rx") for rect in svg.iter(f"{SVG}rect")]
    assert rounding[0] != rounding[1] == rounding[2]
    texts = [text.text for text in svg.iter(f"{SVG}text")]
    assert texts == [
        "m",
        "respond",
        "a",
        "respond",
        "9 rows",
        "1.0 s",
        "b",
        "respond",
        "9 rows",
        "3,000 s",
        "1,200 calls",
    ]
    bars = [
        float(line.get("x2")) - float(line.get("x1"))
        for line in svg.iter(f"{SVG}line")
        if line.get("class") == "bar"
    ]
    assert bars[1] == BOX - 22 and bars[0] < 2, (
        "a full bar is the longest step, and a short one can still be seen"
    )


def test_hostile_names_stay_names():
    named = dataclasses.replace(step("b", [0]), inputs={0: [HOSTILE[::-1]]})
    svg = drawing([step(HOSTILE, stage=HOSTILE, details=HOSTILE), named])
    assert {element.tag.removeprefix(SVG) for element in svg.iter()} == {
        "svg",
        "g",
        "title",
        "rect",
        "text",
        "line",
        "path",
    }
    escaped = HOSTILE.translate(dict.fromkeys((0, 0x1B, 0x2028, 0xFFFE), "\ufffd"))
    assert f"{escaped} \u2192 b ({escaped[::-1]})" in [
        title.text for title in svg.iter(f"{SVG}title")
    ]
    assert max(len(text.text) for text in svg.iter(f"{SVG}text")) <= 21


@pytest.mark.parametrize(
    ("text", "most", "shortened"),
    [
        ("short", 5, "short"),
        ("held_out_judgements", 9, "held\u2026ents"),
        ("abc", 1, "a\u2026"),
        ("日本語日本語", 7, "日\u2026語"),
        ("", 3, ""),
    ],
)
def test_long_names_are_shortened_in_the_middle(text, most, shortened):
    assert shorten(text, most) == shortened


def test_steps_of_artifacts(tmp_path):
    base = fakes.model(tmp_path, "base")
    lost = fakes.artifact(tmp_path, "lost", Result())
    rows = fakes.responses(tmp_path, "answers", [fakes.response("1", "tea")])
    none = {"calls": {"stored": 0, "sent": 0, "tokens": 0}, "seconds": 4.5}
    inputs = {"model": base, "ref": base, "rows": rows, "lost": lost}
    tuned = fakes.artifact(tmp_path, "tuned", Result(), stage="sft", inputs=inputs, **none)
    (tuned.directory / "model").mkdir()
    steps = {each.name: each for each in steps_of([base, rows, tuned], {"tuned", "base"})}
    assert [each.origin for each in steps.values()] == [EXTERNAL, REUSED, MADE], (
        "a pointer to a model is neither"
    )
    assert steps["tuned"].inputs == {0: ["model", "ref"], 1: ["rows"]}, (
        "an edge once, with all its names"
    )
    assert (steps["tuned"].output, steps["tuned"].kind, steps["tuned"].calls) == (
        "model",
        "trains",
        None,
    )
    assert (steps["answers"].output, steps["answers"].kind, steps["answers"].calls) == (
        "1 rows",
        "asks",
        10,
    )
    assert (
        steps["answers"].details
        == "reused: made by another run; 1.5 s; 1 rows; 10 calls sent, 2 from the store; "
        "0 tokens read, 300 written"
    )


def test_reuse_is_described():
    new, reused, existing = (
        step("a", calls=2),
        step("b", origin=REUSED, seconds=1500.0, calls=0),
        step("m", origin=EXTERNAL),
    )
    this = "The run that wrote this page"
    assert describe_reuse([existing, new, new, reused]) == (
        f"{this} made 2 of 3 steps: 2.0 s and 4 calls. "
        "It reused 1, which took 1,500 s and no new calls when it was made."
    )
    assert describe_reuse([existing, new]) == f"{this} made the one step: 1.0 s and 2 calls."
    assert describe_reuse([step("c"), step("d")]) == f"{this} made both steps: 2.0 s."
    assert (
        describe_reuse([reused] * 3)
        == f"{this} reused all 3 steps, which took 4,500 s and no new calls when they were made."
    )
    assert describe_reuse([existing]) == ""


def test_long_names_of_stages_stay_off_the_rows():
    """In the widest font that browsers fall back to a letter takes about 6.9 pixels."""
    long = dataclasses.replace(
        step("judge_examination"), stage="examine_judge", kind="asks", output="672 rows"
    )
    longer = dataclasses.replace(long, stage="compare_optimisers", output="1,234,567 rows")
    for each in (long, longer):
        texts = [text for text in drawing([each]).iter(f"{SVG}text") if float(text.get("y")) == 32]
        left, right = sorted(texts, key=lambda text: float(text.get("x")))
        assert right.text == each.output and left.text
        used = 6.9 * (len(left.text) + len(right.text))
        assert float(left.get("x")) + used <= float(right.get("x")), left.text
    assert ">examine_judge<" in draw([long]), "with hundreds of rows it is not shortened"
