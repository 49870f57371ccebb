"""docs/values.md says what is there: its code runs, its file is sound, its table is complete."""

import re
from pathlib import Path

from stages.principles.constitution import SHIPPED, load
from stages.values.theory import theory_of

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "values.md").read_text()


def test_the_code_runs(capsys):
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(compile(code, "docs/values.md", "exec"), {})
    assert "nominal: True" in capsys.readouterr().out


def test_the_file_is_a_constitution_with_a_theory(tmp_path):
    texts = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    (text,) = [text for text in texts if "\ntheory:" in text]
    path = tmp_path / "mine.yaml"
    path.write_text(f"name: mine\n{text}")
    theory = theory_of(load(path))
    assert theory.angles == {"care": 0, "power": 180} and list(theory.targets) == ["gentle"]


def test_the_table_names_all_theories_with_their_dimensions_and_targets():
    rows = re.findall(
        r"^\| `([a-z0-9_]+)` \|.*\| (\d+) \| (yes|no).* \| (.*) \|$", PAGE, re.MULTILINE
    )
    with_theory = [path.stem for path in SHIPPED.glob("*.yaml") if load(path).theory]
    assert sorted(name for name, *_ in rows) == sorted(with_theory)
    for name, number, circle, targets in rows:
        theory = theory_of(load(name))
        assert len(theory.dimensions) == int(number) and bool(theory.angles) == (circle == "yes")
        named = re.findall(r"`([a-z-]+)`", targets)
        assert named == list(theory.targets) or (name == "svo" and len(theory.targets) == 4)
