"""The command: from logs to a table of 80 columns and a page, in one line."""

import json
import re

import pytest

from stages.compare.__main__ import main
from tests.compare import logs_of_tools as tools
from tests.report.test_report import BROWSER, browse

REWARDS = [1.0] * 30 + [0.0] * 10
WORSE = [1.0] * 12 + [0.0] * 28


def compare(tmp_path, *arguments: str) -> int:
    return main([*arguments, "--out", str(tmp_path / "c.html")])


def data_of(page: str) -> dict:
    script = r'<script type="application/json" id="rows_data">(.*?)</script>'
    found = re.search(script, page, re.DOTALL)
    assert found
    return json.loads(found[1])


def test_two_logs_become_a_table_and_a_page(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    first = tools.verifiers(tmp_path / "one" / "run", REWARDS)
    second = tools.verifiers(tmp_path / "two" / "run", WORSE)
    numbers = tmp_path / "numbers.json"
    code = compare(tmp_path, str(first), f"tuned={second}", "--json", str(numbers))
    shown = capsys.readouterr().out
    assert code == 0 and "-45.0" in shown and "[1] tuned" in shown and "Page: " in shown
    lines = [line for line in shown.splitlines() if "Page" not in line]
    assert max(len(line.rstrip()) for line in lines) <= 80
    effects = json.loads(numbers.read_text())["effects"]
    assert effects[0]["value"] == pytest.approx(-18 / 40) and effects[0]["p_adjusted"] < 0.001
    page = (tmp_path / "c.html").read_text()
    rows = data_of(page)
    assert [row[2:] for row in rows["rows"][:18]] == [[1.0, 0.0]] * 18
    assert rows["texts"]["12"] == [
        "user: question 12",
        "assistant: answer 1.0",
        "assistant: answer 0.0",
    ]
    assert "tuned is lower in reward" in page and "differs" in page


def test_texts_of_logs_cannot_end_the_script(tmp_path):
    coverage = {"</script><b>x": [0.5, 1.0, 0.0], "b": [0.25, 0.5, 1.0]}
    path = tools.weval(tmp_path / "w.json", coverage)
    assert compare(tmp_path, str(path)) == 0
    page = (tmp_path / "c.html").read_text()
    assert "<b>x" not in page and data_of(page)["rows"]


def test_models_of_one_file_are_compared_and_selected(tmp_path, capsys):
    coverage = {"one": [0.5, 1.0, 0.0], "two": [0.25, 0.5, 1.0], "three": [0.5, 0.5, 0.5]}
    path = tools.weval(tmp_path / "w.json", coverage)
    assert compare(tmp_path, str(path), "--only", "one", "--only", "three") == 0
    shown = capsys.readouterr().out
    assert "[1] w.json three" in shown and "two" not in shown
    assert compare(tmp_path, str(path), "--only", "four") == 2
    assert "choose from: w.json one" in capsys.readouterr().err


def test_mistakes_are_said_in_a_line_and_a_fix(tmp_path, capsys):
    folder = tools.verifiers(tmp_path / "run", REWARDS)
    assert compare(tmp_path, str(folder), str(tmp_path / "nothing")) == 2
    assert "no such file or folder" in capsys.readouterr().err
    assert compare(tmp_path, str(folder)) == 2
    assert "name two logs or more" in capsys.readouterr().err
    assert not (tmp_path / "c.html").exists()


@pytest.mark.skipif(not BROWSER, reason="no Chromium here: the page's script is not run")
def test_the_rows_that_changed_are_shown(tmp_path):
    first = tools.verifiers(tmp_path / "one" / "run", REWARDS)
    second = tools.verifiers(tmp_path / "two" / "run", WORSE)
    assert compare(tmp_path, str(first), f"tuned={second}") == 0
    drawn, errors = browse(tmp_path / "c.html", "", tmp_path)
    assert not errors
    assert "1 to 20 of 36" in drawn and drawn.count('class="card entry"') == 20


def test_mistakes_in_names_and_places_say_how_to_mend_them(tmp_path, capsys):
    log = str(tools.verifiers(tmp_path / "one", REWARDS))
    other = str(tools.verifiers(tmp_path / "two", WORSE))
    (tmp_path / "empty.jsonl").touch()
    (tmp_path / "empty").mkdir()
    cases = [
        ([f"a={log}", f"a={other}"], "two logs are called 'a'"),
        ([log, log], "two logs are called"),
        ([log, str(tmp_path / "empty.jsonl")], "it is empty"),
        ([log, str(tmp_path / "empty")], "it is empty"),
        ([log, other, "--json", str(tmp_path)], "this is a folder, not a file"),
        ([log, other, "--json", str(tmp_path / "no" / "x.json")], "its folder does not exist"),
    ]
    for arguments, words in cases:
        assert compare(tmp_path, *arguments) == 2
        shown = capsys.readouterr().err
        assert words in shown and "df -h" not in shown


def test_the_star_is_explained_by_the_confidence_that_was_asked_for(tmp_path, capsys):
    logs = [str(tools.verifiers(tmp_path / name, REWARDS)) for name in ("one", "two")]
    assert compare(tmp_path, *logs, "--confidence", "0.99") == 0
    assert "* p below 0.01." in capsys.readouterr().out
