"""What comes from outside reaches the terminal as it is: no markup, no controls, no secrets."""

import io
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.table import Table

from stages.guards.console import as_shown, open_console, styled
from stages.guards.text import CONTROL, SURROGATE
from stages.runtime.artifacts import Artifact
from stages.runtime.manifest import Table as ResultTable
from stages.runtime.pipeline.display import show_tables, step_line
from stages.runtime.progress import progress_bar
from stages.runtime.tally import Tally

ROOT = Path(__file__).resolve().parents[2]
HOSTILE = [
    "[/laws]",
    "[laws]",
    "[red]x[/red]",
    "[bold red on blue]",
    "[link=http://evil]x[/link]",
    "[@click=f]x",
    "\\[x]",
    ":train:",
    "\x1b[31mred",
    "\x1b]0;title\x07",
    "\x9b31m",
    "a\rb",
    "\u202eevil",
    "\u2066x",
    "half \ud83d",
    "nul \0",
    "[" * 200,
    "{task.description}",
    "%s %(x)d {0}",
    "\u0007bell\b\b",
]


def literal(text: str) -> str:
    """As a terminal must show it: of control characters their codes."""
    spelt = CONTROL.sub(lambda match: ascii(match[0])[1:-1], text)
    return SURROGATE.sub(lambda match: ascii(match[0])[1:-1], spelt)


def shown(*values, **options) -> str:
    console = open_console(file=io.StringIO(), width=500, **options)
    console.print(*values)
    return console.file.getvalue()


def table_of(text: str) -> Table:
    table = Table(title=text, caption=text)
    table.add_column(text)
    table.add_row(text)
    return table


def assert_literal(text: str) -> None:
    words = literal(text)
    for value in (text, styled(text), styled((text, "bold red")), styled("a ", (text, "green"))):
        assert words in shown(value)
        colours = shown(value, force_terminal=True, color_system="standard")
        assert words in re.sub(r"\x1b\[[\d;]*m", "", colours)
    assert shown(table_of(text)).count(words) == 4
    assert not CONTROL.search(as_shown(text)) and not SURROGATE.search(as_shown(text))


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_texts_are_shown_literally(text):
    assert_literal(text)


MARKUP = st.text(st.sampled_from("[]/\\:a@#= \x1b\x9b\u202e\ud800😀\r"), max_size=20)


@settings(max_examples=30)
@given(MARKUP)
def test_any_text_is_shown_literally(text):
    assert literal(text) in shown(text) and literal(text) in shown(styled((text, "bold")))
    assert literal(text) in shown(styled(text), force_terminal=True, color_system=None)


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_results_and_progress_are_too(text, tmp_path):
    artifact = Artifact("answers", tmp_path)
    table = {"title": text, "columns": ["category", text], "rows": [[text, "1"], ["x", text]]}
    facts = {
        "seconds": 1.0,
        "rows": 3,
        "dropped": {text: 2},
        "tables": [ResultTable(**table)],
        "metrics": {},
    }
    artifact.__dict__["manifest"] = SimpleNamespace(**facts)
    console = open_console(file=io.StringIO(), width=1500)
    show_tables([artifact], console)
    console.print(step_line(artifact, Tally(), 1))
    assert console.file.getvalue().count(literal(text)) == 5
    console = open_console(
        file=io.StringIO(), width=500, force_terminal=True, color_system=None, _environ={}
    )
    with progress_bar(console, "rows") as progress:
        progress.add_task(text, total=2, note=text)
        progress.refresh()
    words = re.sub(r"\s+", "", literal(text))[:60]
    assert words in re.sub(r"\s+", "", console.file.getvalue())


def test_no_word_of_a_table_is_broken_in_eighty_columns(tmp_path):
    """A table that is too wide stands in parts, each with the first column."""
    artifact = Artifact("evaluation", tmp_path)
    columns = ["a policy", "violations", "well-formed", "on-topic", "evasive", "helpful", "n"]
    rows = [["the change of it"] + ["-41.5 [-46,-36]"] * 5 + ["484"]]
    table = ResultTable(title="Effect", columns=columns, rows=rows)
    artifact.__dict__["manifest"] = SimpleNamespace(tables=[table])
    console = open_console(file=io.StringIO())
    console.width = 80
    show_tables([artifact], console)
    shown_text = console.file.getvalue()
    assert max(map(len, shown_text.splitlines())) <= 80
    assert all(shown_text.count(name) == 1 for name in columns[1:-1])
    assert shown_text.count("-41.5 [-46,-36]") == 5
    assert shown_text.count("further columns") == shown_text.count("484") == 1


def test_a_log_is_as_wide_as_columns_says(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    assert open_console(file=io.StringIO()).width >= 120
    monkeypatch.setenv("COLUMNS", "70")
    assert open_console(file=io.StringIO()).width == 70


def test_a_style_is_the_only_colour():
    line = styled(("run", "yellow"), " [red]x[/]")
    assert (
        shown(line, force_terminal=True, color_system="standard")
        == "\x1b[33mrun\x1b[0m [red]x[/]\n"
    )


CODE = """
import logging, sys, warnings
from stages.guards.console import guard_libraries, open_console
guard_libraries()
guard_libraries()
hostile = "[/x] \\x1b[31m \\u2028 \\ud83d \\u00e9 \\u4f60 " + "sk-" + "1" * 20
for stderr in (False, True):
    open_console(stderr=stderr).print(hostile)
    open_console(stderr=stderr, force_terminal=True, width=20).print(hostile)
logging.warning("logged %s", hostile)
logging.warning("too few %s %s", hostile)
warnings.warn(hostile)
try:
    raise ValueError(hostile)
except ValueError:
    logging.exception("failed")
raise KeyError(hostile)
"""


@pytest.mark.parametrize(
    "setting",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"PYTHONIOENCODING": "latin-1:strict", "TERM": "dumb", "COLUMNS": "20"},
    ],
    ids=str,
)
def test_no_encoding_is_too_small_and_libraries_are_masked(setting):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **setting}
    result = subprocess.run([sys.executable, "-c", CODE], capture_output=True, env=environment)
    assert result.returncode == 1
    words = result.stdout + result.stderr
    assert b"Encode" not in words and b"1" * 20 not in words
    assert words.count(b"[/x]") >= 8
    assert b"\x1b[31m" not in words and b"KeyError" in result.stderr


def test_a_reader_that_has_gone_ends_the_process_quietly():
    code = (
        "from stages.guards.console import open_console\n"
        "for number in range(100_000): open_console().print('a line of text')"
    )
    command = f'{sys.executable} -c "{code}" | head -1'
    result = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, cwd=ROOT, timeout=60
    )
    assert result.stdout == "a line of text\n" and result.stderr == ""


def test_the_house_has_one_way_to_the_terminal():
    """No markup, no other console, no `print` in the modules that a run imports."""
    ways = re.compile(
        r"\bmarkup=|rich\.markup|\bConsole\(|TextColumn\(|rich\.progress import track"
        r"|\[/?(?:bold|red|green|yellow)\b|highlight="
    )
    prints = re.compile(r"(?<![\w.])print\(|traceback\.print|sys\.std(?:out|err)\.write")
    own = {"stages/guards/console.py", "stages/runtime/progress.py"}
    found = []
    for path in [ROOT / "run.py", *sorted((ROOT / "stages").rglob("*.py"))]:
        name = str(path.relative_to(ROOT))
        if name in own:
            continue
        text = path.read_text()
        found += [f"{name}: {match[0]}" for match in ways.finditer(text)]
        if not name.startswith("stages/world/"):
            found += [f"{name}: {match[0]}" for match in prints.finditer(text)]
    assert found == []


INTERRUPTED_IN_A_DESTRUCTOR = """
import signal, time
from stages.guards.console import guard_libraries
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
guard_libraries()
class Interrupting:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)
try:
    Interrupting()
    time.sleep(20)
    print("went on")
except KeyboardInterrupt:
    print("interrupted")
"""


def test_an_interrupt_that_meets_a_destructor_is_not_lost():
    """Python itself reports it as ignored, and goes on."""
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_IN_A_DESTRUCTOR],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert (done.stdout, done.stderr) == ("interrupted\n", "")
