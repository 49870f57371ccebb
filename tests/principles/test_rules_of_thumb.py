"""Tables of rules of thumb, in the columns that their authors document, as constitution files."""

import json

import pytest

from stages.principles.constitution import load
from stages.principles.importers.__main__ import main
from stages.principles.lint import lint
from stages.principles.retrieve import rank

SOCIAL_CHEMISTRY = (
    "area\tsplit\trot-bad\trot-moral-foundations\tsituation\trot\n"
    "aita\ttrain\t0\tfairness-cheating|care-harm\tleaving before the bill came\tIt's rude to leave "
    "a friend with the bill\n"
    "aita\ttrain\t0\tfairness-cheating\tnot paying my share\tIt's rude  to leave a friend with the "
    "bill.\n"
    "aita\ttrain\t1\t\tx\tbad bad\n"
    "aita\ttest\t0\tcare-harm\tmy neighbour is ill\tIt's kind to visit the sick.\n"
    "aita\ttrain\t0\t\tz\t\n"
    "aita\ttrain\t0\tcare-harm\ta dog in the rain\tYou should not keep an animal in the rain!\n"
)
MIC = (
    "WorkerId,Q,A,rot,moral,A_agrees,rot-agree,violation-severity\n"
    '1,"May I, perhaps, read her diary?",Sure.,It is wrong to read what is private,liberty,0,4,3\n'
)
MORAL_STORIES = json.dumps(
    {
        "ID": "a",
        "norm": "It's good to return what is lost.",
        "situation": "Ann sees a purse on the road.",
        "intention": "Ann wants to be home soon.",
        "moral_action": "Ann takes the purse to its owner.",
        "immoral_action": "Ann walks on with the purse.",
    }
)


def convert(folder, text, name, *arguments, out="out.yaml"):
    (folder / name).write_text(text)
    code = main(["rules", str(folder / name), *arguments, "--out", str(folder / out)])
    return code, load(str(folder / out)).principles if code == 0 else ()


def test_social_chemistry_becomes_rules_with_their_situations(tmp_path, capsys):
    columns = ["--rule", "rot", "--situation", "situation", "--tags", "rot-moral-foundations"]
    conditions = ["--only", "split=train", "--only", "rot-bad=0"]
    code, rules = convert(tmp_path, SOCIAL_CHEMISTRY, "sc.tsv", *columns, *conditions)
    assert code == 0 and [rule.text for rule in rules] == [
        "It's rude to leave a friend with the bill.",
        "You should not keep an animal in the rain!",
    ]
    assert rules[0].situations == ("leaving before the bill came", "not paying my share")
    assert rules[0].tags == ("fairness-cheating", "care-harm")
    shown = " ".join(capsys.readouterr().out.split())
    for reason in ("1 x split is not train", "1 x rot-bad is not 0", "1 x no rule in the row"):
        assert reason in shown
    assert "1 x a row more of a rule" in shown
    assert next(rank(rules, ["I did not pay my share"], None, None))[0] is rules[0]
    assert {finding.rule for finding in lint(load(str(tmp_path / "out.yaml")))} <= {
        "negative framing"
    }


def test_mic_and_moral_stories(tmp_path):
    _, (rule,) = convert(
        tmp_path, MIC, "mic.csv", "--rule", "rot", "--situation", "Q", "--tags", "moral"
    )
    assert (rule.text, rule.situations, rule.tags) == (
        "It is wrong to read what is private.",
        ("May I, perhaps, read her diary?",),
        ("liberty",),
    )
    columns = ["--rule", "norm", "--situation", "situation"]
    _, (norm,) = convert(tmp_path, MORAL_STORIES, "ms.jsonl", *columns, out="ms.yaml")
    assert (norm.text, norm.tags) == ("It's good to return what is lost.", ())


def test_of_many_rules_some_are_drawn_from_all_parts(tmp_path, capsys):
    table = "rule\n" + "".join(f"Rule number {number} holds.\n" for number in range(1000))
    _, rules = convert(tmp_path, table, "many.csv", "--rule", "rule", "--most", "100")
    numbers = [int(rule.text.split()[2]) for rule in rules]
    assert len(rules) == 100 and numbers == sorted(numbers)
    assert numbers[0] < 100 and numbers[-1] > 900, "not the first 100"
    assert "900 x over the number of rules to take" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--rule", "rott"], "rott"),
        (["--rule", "rot", "--only", "split"], "'split' is not COLUMN=VALUE"),
        (["--rule", "rot", "--only", "split=dev"], "no row gave a rule"),
        (["--rule", "rot", "--only", "spilt=dev"], "spilt"),
    ],
)
def test_a_mistake_ends_in_one_message_and_no_file(tmp_path, capsys, arguments, message):
    code, _ = convert(tmp_path, SOCIAL_CHEMISTRY, "sc.tsv", *arguments)
    assert code == 2 and message in capsys.readouterr().err
    assert not (tmp_path / "out.yaml").exists()


def test_a_set_too_large_to_load_is_not_written(tmp_path, capsys):
    table = "rule\n" + "".join(f"{'word ' * 200}{number}.\n" for number in range(1100))
    code, _ = convert(tmp_path, table, "long.csv", "--rule", "rule")
    assert code == 2 and "take fewer principles: --most" in capsys.readouterr().err
    assert not (tmp_path / "out.yaml").exists()
    (tmp_path / "out.yaml").write_text("mine")
    code, _ = convert(tmp_path, MIC, "mic.csv", "--rule", "rot")
    assert code == 2 and (tmp_path / "out.yaml").read_text() == "mine"
