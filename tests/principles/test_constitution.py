"""The format of constitutions, the faults it refuses, and the shipped sets."""

import json
import random
import re
from collections import Counter
from pathlib import Path

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.guards.errors import UserError
from stages.guards.text import is_visible
from stages.principles.constitution import SHIPPED, Constitution, load, to_yaml
from stages.principles.lint import lint
from stages.principles.schema import schema_text
from tests.fuzz.constitutions import draw_constitution, find_fault

SETS = sorted(path.stem for path in SHIPPED.glob("*.yaml"))
THEORIES = {
    "schwartz": 10,
    "schwartz19": 19,
    "moral_foundations": 6,
    "moral_foundations2": 6,
    "gert": 10,
    "rokeach": 36,
    "svo": 4,
    "trustllm": 8,
    "world_values": 10,
}
"""Theories of values, with the number of their dimensions."""
OURS = [
    "beavertails",
    "cai",
    "chain_of_command",
    "character",
    "hhh",
    "palms",
    "rots",
    "self_align",
    "sparrow",
    "verbose",
    *THEORIES,
]
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
GOOD = "name: mine\nprinciples:\n  - id: kind\n    text: The response is kind.\n"
VALUED = (
    "name: mine\nprinciples:\n  - id: kind\n    text: The response is kind.\n    dimension: care\n"
    "  - id: strong\n    text: The response is strong.\n    tags: [x]\n    dimension: power\n"
)
"""Two dimensions, in nine lines."""


def write_file(tmp_path, text):
    path = tmp_path / "mine.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def bomb(levels):
    """Each level holds nine aliases of the one before: 9 ** levels nodes if they were expanded."""
    lines = ["a0: &a0 [x, x]"] + [
        f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, levels)
    ]
    return "\n".join(lines) + "\n"


BAD = {
    "not YAML": (GOOD + "title: [1\n", "not valid YAML", 6),
    "an unquoted colon": (GOOD + "title: one: two\n", "not valid YAML.*double quotes", 5),
    "a tab": (GOOD + "\ttitle: x\n", "not valid YAML", 5),
    "unquoted braces": (
        "name: mine\nprinciples:\n  - id: kind\n    text: {{ x }}\n",
        "plain text.*double quotes",
        4,
    ),
    "a control character": (GOOD + "title: a\x07b\n", r"U\+0007", 5),
    "an escaped control character": (GOOD + 'title: "a\\eb"\n', "control character", 5),
    "a lone surrogate": (GOOD + 'title: "\\ud800"\n', "Unicode", 5),
    "an unsafe tag": (
        GOOD + "title: !!python/object/apply:os.getcwd []\n",
        "could not determine a constructor",
        5,
    ),
    "an impossible date": (GOOD + "title: 2024-13-45\n", "month", 5),
    "a huge integer": (GOOD + "version: " + "9" * 5000 + "\n", "integer", 5),
    "two documents": (GOOD + "---\nname: b\n", "not valid YAML", 5),
    "a key twice": (GOOD + "name: other\n", "'name' appears twice, first on line 1", 5),
    "a key twice within a principle": (GOOD + "    text: Again.\n", "'text' appears twice", 5),
    "an id twice": (
        GOOD + "  - id: kind\n    text: Again.\n",
        "principle 'kind': the id 'kind' appears twice",
        5,
    ),
    "an empty text": (
        "name: mine\nprinciples:\n  - id: kind\n    text: ' '\n",
        "principle 'kind': 'text' is empty",
        4,
    ),
    "no text": (
        "name: mine\nprinciples:\n  - id: kind\n    text:\n",
        "principle 'kind': 'text' is empty",
        4,
    ),
    "a missing text": ("name: mine\nprinciples:\n  - id: kind\n", "the key 'text' is missing", 3),
    "a misspelt key": (
        "name: mine\nprinciples:\n  - id: kind\n    txet: X.\n",
        "unknown key .txet.. Did you mean .text.",
        4,
    ),
    "a missing name": (GOOD.partition("\n")[2], "the key 'name' is missing", 1),
    "an unknown key": (
        GOOD + "    wieght: 2.0\n",
        "unknown key 'wieght'. Did you mean 'weight'",
        5,
    ),
    "an unknown key on top": (
        GOOD + "tittle: x\n",
        "unknown key 'tittle'. Did you mean 'title'",
        5,
    ),
    "a number as text": (GOOD + "    opposite: 5\n", "'opposite' must be text, not a number", 5),
    "yes as text": (GOOD + "    opposite: yes\n", "'opposite' must be text, not a yes/no value", 5),
    "a date as text": (
        GOOD + "    opposite: 2024-01-01\n",
        "'opposite' must be text, not a date",
        5,
    ),
    "a text as weight": (
        GOOD + "    weight: heavy\n",
        "'weight' must be a number, not the text 'heavy'",
        5,
    ),
    "a quoted number as weight": (GOOD + "    weight: '2'\n", "'weight' must be a number", 5),
    "true as weight": (GOOD + "    weight: true\n", "'weight' must be a number", 5),
    "a weight of 0": (GOOD + "    weight: 0\n", "'weight' must be above 1e-09", 5),
    "a weight whose sums overflow": (GOOD + "    weight: 1.0e+308\n", "'weight'.*less than", 5),
    "a weight that is next to nothing": (
        GOOD + "    weight: 1.0e-320\n",
        "'weight' must be above",
        5,
    ),
    "an infinite weight": (GOOD + "    weight: .inf\n", "'weight'.*finite", 5),
    "a text as tags": (GOOD + "    tags: harmless\n", "'tags' must be a list", 5),
    "an id that is no slug": (GOOD.replace("kind", "Be_Kind", 1), "not a slug.*be-kind", 3),
    "an id that YAML reads as false": (GOOD.replace("kind", "no", 1), "'id' must be text", 3),
    "a principle that is a text": (
        "name: mine\nprinciples:\n  - be kind\n",
        "number 1: this must be a mapping",
        3,
    ),
    "principles as a mapping": (
        "name: mine\nprinciples:\n  kind: x\n",
        "'principles' must be a list",
        2,
    ),
    "no principles": ("name: mine\nprinciples: []\n", "'principles' is empty", 2),
    "a list on top": ("- id: kind\n", "top level must be a mapping", 1),
    "an empty file": ("", "top level must be a mapping", 1),
    "a target without its dimension": (
        VALUED + "targets:\n  ideal:\n    care: 1\n    pwoer: 1\n    power: 1\n",
        "'pwoer' is a dimension that no principle has. Did you mean 'power'",
        13,
    ),
    "a target off the scale": (
        VALUED + "targets:\n  ideal:\n    care: 1\n    power: -1.5\n",
        "'power' must be from -1 to 1, not -1.5",
        13,
    ),
    "a target that lacks a dimension": (
        VALUED + "targets:\n  ideal:\n    care: 1\n",
        "the target 'ideal' lacks 'power'.*with 0",
        11,
    ),
    "a target that is a text": (
        VALUED + "targets:\n  ideal: {care: high, power: 1}\n",
        "'care' must be a number",
        11,
    ),
    "empty targets": (GOOD + "targets: {}\n", "'targets' has no numbers", 5),
    "targets that are a number": (GOOD + "targets: 5\n", "'targets' must be a mapping", 5),
    "a target without a name": (
        VALUED + "targets:\n  power: 1\n",
        "'power' must be a mapping, not a number.*targets: {<name>: {<dimension>: <number",
        11,
    ),
    "a name of a target that is no slug": (
        VALUED + "targets:\n  The UK: {care: 1, power: 1}\n",
        "'The UK' is not a slug.*the-uk",
        11,
    ),
    "a target that is a mapping": (
        VALUED + "targets:\n  ideal:\n    power: 1\n    care: {b: 1}\n",
        "'care' must be a number, not a mapping",
        13,
    ),
    "a theory that is a list": (VALUED + "theory: [care]\n", "a mapping.*theory: {circle", 10),
    "a key of no theory": (
        VALUED + "theory:\n  cirle: [care, power]\n",
        "unknown key 'cirle'. Did you mean 'circle'",
        11,
    ),
    "a circle that is a text": (
        VALUED + "theory: {circle: care}\n",
        "'circle' must be a list, not the text",
        10,
    ),
    "a circle of an unknown dimension": (
        VALUED + "theory:\n  circle:\n    - care\n    - pwoer\n    - power\n",
        "'pwoer' is a dimension that no principle has. Did you mean 'power'",
        13,
    ),
    "a circle that lacks a dimension": (
        VALUED + "theory:\n  circle: [care]\n",
        "the circle lacks 'power'",
        11,
    ),
    "a dimension twice on the circle": (
        VALUED + "theory:\n  circle: [care, power, care]\n",
        "'care' stands twice in 'circle'",
        11,
    ),
    "angles without a circle": (
        VALUED + "theory:\n  angles: {care: 1, power: 2}\n",
        "angles and no circle",
        11,
    ),
    "an angle of an unknown dimension": (
        VALUED + "theory:\n  circle: [care, power]\n  angles: {care: 1, power: 2, cra: 3}\n",
        "'cra' is not on the circle. Did you mean 'care'",
        12,
    ),
    "an angle that is missing": (
        VALUED + "theory:\n  circle: [care, power]\n  angles: {care: 1}\n",
        "angles lacks 'power'",
        12,
    ),
    "an angle that is a text": (
        VALUED + "theory:\n  circle: [care, power]\n  angles: {care: north, power: 2}\n",
        "'care' must be a number",
        12,
    ),
    "angles against the order of the circle": (
        VALUED
        + "  - {id: c, text: C., dimension: c}\n"
        + "theory:\n  circle: [care, power, c]\n  angles: {care: 0, power: 200, c: 100}\n",
        "do not grow in the order of the circle",
        13,
    ),
    "a group of an unknown dimension": (
        VALUED + "theory:\n  groups:\n    all: [care, pwer]\n",
        "'pwer' is a dimension that no principle has. Did you mean 'power'",
        12,
    ),
    "an empty group": (VALUED + "theory:\n  groups: {all: []}\n", "'all' is empty", 11),
    "groups as a list": (VALUED + "theory:\n  groups: [care]\n", "'groups' must be a mapp", 11),
    "an axis of an unknown group": (
        VALUED + "theory:\n  groups: {all: [care]}\n  axes: {x: [all, al]}\n",
        "there is no group 'al'. Did you mean 'all'",
        12,
    ),
    "an axis with one end": (
        VALUED + "theory:\n  groups: {all: [care]}\n  axes: {x: [all]}\n",
        "'x' must name two groups",
        12,
    ),
    "a dimension with two homes in a coarser theory": (
        VALUED + "theory:\n  coarser:\n    two: {good: [care, power], bad: [power]}\n",
        "'power' is a part of 'good' and of 'bad'",
        12,
    ),
    "a coarser theory of an unknown dimension": (
        VALUED + "theory:\n  coarser:\n    two: {good: [cares]}\n",
        "'cares' is a dimension that no principle has. Did you mean 'care'",
        12,
    ),
    "a number as a situation": (
        GOOD + "    situations:\n      - 1\n",
        "'situations' must be text",
        6,
    ),
    "a number as a key": (GOOD + "1: x\n", "the key 1 is not text", 5),
    "not UTF-8": (GOOD.encode() + b"title: caf\xe9\n", "not UTF-8", 5),
    "UTF-16": (GOOD.encode("utf-16"), "not UTF-8", 1),
    "an alias bomb": (bomb(9) + GOOD, "aliases are not allowed", 2),
    "a bomb of merges": (
        bomb(9).replace("[x, x]", "{x: x}").replace("[", "{<<: [").replace("]", "]}") + GOOD,
        "aliases are not allowed",
        2,
    ),
    "one alias": ("a: &a x\nb: [*a]\n", "aliases are not allowed", 2),
    "a recursive alias": ("a: &a [*a]\n", "aliases are not allowed", 1),
    "deep nesting": ("a: " + "[" * 5000 + "]" * 5000 + "\n", "nested deeper", 1),
    "10 MB": ("# " + "x" * 10_000_000, "too large", None),
}


@pytest.mark.parametrize("fault", BAD)
def test_bad_file_is_refused_with_its_line(tmp_path, monkeypatch, fault):
    monkeypatch.chdir(tmp_path)
    text, message, line = BAD[fault]
    with pytest.raises(UserError) as caught:
        load(write_file(tmp_path, text))
    error = str(caught.value)
    assert re.search(message, error, re.DOTALL), error
    first = getattr(caught.value, "errors", [caught.value])[0]
    assert first.where == f"mine.yaml:{line}" or line is None, error
    assert first.fix


def test_all_faults_of_a_file_are_shown_at_once(tmp_path):
    faulty = GOOD + "    wieght: 2\n    opposite: !!bool x\n    tag: x\n    tag: y\nversion: 0\n"
    with pytest.raises(UserError) as caught:
        load(write_file(tmp_path, faulty))
    lines = [int(error.where.rpartition(":")[2]) for error in caught.value.errors]
    assert sorted(lines) == [5, 6, 7, 8, 9]
    many = "".join(f"key{number}: x\n" for number in range(3_000))
    with pytest.raises(UserError, match=r"20\. (.|\n)*and 180 more"):
        load(write_file(tmp_path, GOOD + many))


@pytest.mark.parametrize(
    ("given", "message"), [("hhhh", "Did you mean 'hhh'"), ("no/such.yaml", "no constitution")]
)
def test_unknown_file_names_the_nearest(given, message):
    with pytest.raises(UserError, match=message):
        load(given)


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(UserError, match="not a file"):
        load(tmp_path)


@pytest.mark.parametrize(
    "text", ["{{ ''.__class__ }}", "{% raw %}", "{# note #} %(x)s {0} ${x} [red]x[/red]"]
)
def test_template_syntax_is_plain_data(tmp_path, text):
    path = write_file(
        tmp_path, yaml.safe_dump({"name": "m", "principles": [{"id": "a", "text": text}]})
    )
    assert load(path).principles[0].text == text


@settings(max_examples=60)
@given(text=st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1).filter(is_visible))
def test_any_text_survives_the_file(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("c") / "mine.yaml"
    path.write_text(
        yaml.safe_dump({"name": "m", "principles": [{"id": "a", "text": text}]}), encoding="utf-8"
    )
    assert load(path).principles[0].text == text.strip()


@settings(max_examples=100)
@given(raw=st.binary(max_size=200) | st.text("[]{}:-&*!|>#'\"\n ab1", max_size=60).map(str.encode))
def test_nothing_but_a_user_error_escapes(tmp_path_factory, raw):
    path = tmp_path_factory.mktemp("c") / "mine.yaml"
    path.write_bytes(raw)
    with pytest.raises(UserError):
        load(path)


@pytest.mark.parametrize("start", range(0, 80, 40))
def test_drawn_files_are_read_as_yaml_reads_them_or_refused_with_their_lines(tmp_path, start):
    for seed in range(start, start + 40):
        data = draw_constitution(random.Random(seed))
        assert find_fault(data, tmp_path) == "", (seed, data[:300])


@pytest.mark.parametrize("text", ["\u200b", "\u2060\ufeff", "\u202e", "\u3164", " \u200d "])
def test_a_text_that_shows_nothing_is_empty(tmp_path, text):
    content = GOOD.replace("The response is kind.", json.dumps(text))
    with pytest.raises(UserError, match="'text' is empty"):
        load(write_file(tmp_path, content))


ODD_VALUES = [
    "!!bool abc",
    "!!int ''",
    "!!float ''",
    "!!timestamp abc",
    "!!binary YQ==",
    "!!set {a, b}",
    "!!omap [a: 1]",
    "!!pairs [a: 1]",
    '"\\UFFFFFFFF"',
    '"\\ud800"',
    "0x" + "f" * 5000,
    "9" * 400 + ":1.5",
    "2024-01-01T00:00:00+99:99",
]


@pytest.mark.parametrize("value", ODD_VALUES)
@pytest.mark.parametrize("key", ["title", "version", "targets", "principles"])
def test_values_that_yaml_cannot_construct_are_refused_with_their_line(tmp_path, key, value):
    head = GOOD if key != "principles" else "name: mine\n# a\n# b\n# c\n"
    with pytest.raises(UserError) as caught:
        load(write_file(tmp_path, f"{head}{key}: {value}\n"))
    first = getattr(caught.value, "errors", [caught.value])[0]
    assert first.where.endswith("mine.yaml:5") and first.fix and len(str(first)) < 1000


def test_merge_keys_and_a_byte_order_mark_are_fine(tmp_path):
    text = (
        "\ufeffname: m\nprinciples:\n  - {id: a, text: A., weight: 2}\n"
        "  - {<<: {text: B., weight: 2}, id: b}\n"
    )
    assert [(p.id, p.weight) for p in load(write_file(tmp_path, text)).principles] == [
        ("a", 2.0),
        ("b", 2.0),
    ]


def test_targets_are_named_and_have_one_number_for_each_dimension(tmp_path):
    good = VALUED + "targets: {ideal: {care: 1, power: -0.5}, calm: {power: 0, care: 0}}\n"
    targets = load(write_file(tmp_path, good)).targets
    assert targets == {"ideal": {"care": 1.0, "power": -0.5}, "calm": {"power": 0.0, "care": 0.0}}


def test_all_faults_of_a_theory_and_its_targets_are_shown_with_their_lines(tmp_path):
    faulty = (
        VALUED
        + "theory:\n  circle: [care, carre]\n  groups:\n    all: [pawer]\n"
        + "targets:\n  ideal:\n    care: 2\n    pwer: 1\n  calm: {care: 0, power: 0}\n"
    )
    with pytest.raises(UserError) as caught:
        load(write_file(tmp_path, faulty))
    lines = [int(error.where.rpartition(":")[2]) for error in caught.value.errors]
    assert lines == [11, 11, 13, 15, 16, 17]


def test_theory_and_targets_are_read_back_from_a_file_that_was_written(tmp_path):
    constitution = load("schwartz")
    assert load(write_file(tmp_path, to_yaml(constitution, "#"))) == constitution


def test_identity_holds_what_bears_meaning(tmp_path):
    plain = load(write_file(tmp_path, GOOD)).identity()
    assert plain == {"kind": {"text": "The response is kind."}}
    same = "# note\n" + GOOD + "    tags: [x]\n    weight: 1\ntitle: T\nsource: S\nversion: 2\n"
    assert load(write_file(tmp_path, same)).identity() == plain
    for line in [
        "opposite: X.",
        "critique: X.",
        "revision: X.",
        "weight: 2",
        "dimension: x",
        "situations: [x]",
    ]:
        changed = load(write_file(tmp_path, GOOD + f"    {line}\n"))
        assert changed.identity() != plain
        assert changed.identity("text") == plain
        assert list(changed.identity(line.partition(":")[0])["kind"]) == [line.partition(":")[0]]
        json.dumps(changed.identity())


def test_a_constitution_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        load("hhh").principles[0].text = "x"


def test_the_schema_is_current():
    current = (SHIPPED / "schema.json").read_text(encoding="utf-8")
    assert current == schema_text(), "run: python -m stages.principles.schema"


@pytest.mark.parametrize("name", SETS)
def test_shipped_set_loads_and_fits_the_schema(name):
    constitution = load(name)
    assert constitution.source
    assert constitution.name == name.replace("_", "-")
    data = yaml.safe_load((SHIPPED / f"{name}.yaml").read_text(encoding="utf-8"))
    jsonschema.validate(data, json.loads(schema_text()))


@pytest.mark.parametrize("name", OURS)
def test_our_sets_have_no_warnings(name):
    constitution = load(name)
    assert lint(constitution, polarity=name != "rots") == []
    most = 2 if name == "world_values" else 1  # of the sentences that the embedded model learnt
    for principle in constitution.principles:
        assert re.fullmatch(r"([^.?!]+\.)+", principle.text), principle.text
        assert principle.text.count(".") <= most, "one clear sentence"


def test_the_sets_hold_what_their_family_needs():
    sets: dict[str, Constitution] = {name: load(name) for name in OURS}
    assert {tag for p in sets["hhh"].principles for tag in p.tags} == {
        "helpful",
        "honest",
        "harmless",
    }
    assert len(sets["cai"].principles) == len(sets["self_align"].principles) == 16
    assert len(sets["sparrow"].principles) == 23 and len(sets["beavertails"].principles) == 14
    assert len({tag for p in sets["palms"].principles for tag in p.tags}) == 8
    assert all(load(name).source for name in ("sparrow", "beavertails", "palms"))
    assert all(p.critique and p.revision for p in sets["cai"].principles)
    rules = sets["rots"].principles
    assert len(rules) >= 100 and all(len(rule.situations) >= 2 for rule in rules)
    foundations = {"care", "fairness", "loyalty", "authority", "sanctity", "liberty"}
    counts = Counter(tag for rule in rules for tag in rule.tags)
    assert set(counts) == foundations and min(counts.values()) >= 15
    for name, number in THEORIES.items():
        assert sets[name].dimensions() == [p.id for p in sets[name].principles]
        assert len(sets[name].principles) == number and sets[name].theory.groups
    assert list(sets["schwartz"].targets) == ["ideal", "safety", "uk", "netherlands", "france"]


@pytest.mark.skipif(
    not SHARED.is_dir(), reason="the originals (../shared/data) are not here to compare with"
)
def test_no_wording_is_copied():
    files = [
        "anthropic_cai/CritiqueRevisionInstructions.json",
        "anthropic_cai/RLMadisonInstructions.json",
    ]
    files += ["salmon/principle_collection_rm.json", "salmon/principle_collection_harmless.json"]
    files += ["dromedary/watson_self_align_prompt.txt"]

    def runs_of_six(text):
        words = re.findall(r"[a-z']+", text.lower().replace("\\n", " "))
        return {tuple(words[i : i + 6]) for i in range(len(words) - 5)}

    originals = set().union(
        *(runs_of_six((SHARED / file).read_text(encoding="utf-8")) for file in files)
    )
    for name in OURS:
        for p in load(name).principles:
            for text in (p.text, p.opposite, p.critique, p.revision, *p.situations):
                assert not runs_of_six(text or "") & originals, (name, p.id)
