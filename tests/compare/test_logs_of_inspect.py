"""Logs that inspect itself wrote: each number of its header comes out of the rows.

`files/inspect` lies here; where inspect_ai is installed, logs of more kinds are written and read
(`pip install inspect_ai`, or its folder in PYTHONPATH).
"""

import json
import shutil
import zipfile
from importlib.util import find_spec

import pyarrow as pa
import pytest

from stages.compare.__main__ import main
from stages.compare.logs.open_logs import open_logs
from stages.guards.errors import UserError
from tests.compare.logs_of_tools import FILES

LOGS = FILES / "inspect"
SUMS = [(number, 3 * number % 5) for number in range(8)]


def header_of(path):
    """By pyarrow over the bytes behind the member's local header, not by the reader."""
    with zipfile.ZipFile(path) as archive:
        facts = archive.getinfo("header.json")
    data = path.read_bytes()[facts.header_offset :]
    start = 30 + int.from_bytes(data[26:28], "little") + int.from_bytes(data[28:30], "little")
    packed = data[start : start + facts.compress_size]
    return json.loads(pa.CompressedInputStream(pa.py_buffer(packed), "zstd").read())


def own_numbers(path):
    header = json.loads(path.read_text()) if path.suffix == ".json" else header_of(path)
    numbers = {}
    for score in header["results"]["scores"]:
        reducer = score.get("reducer") or "mean"
        name = f"{header['eval']['task']} {score['name']}"
        name += "" if reducer == "mean" else f" ({reducer})"
        metrics = score["metrics"]
        numbers[name] = (metrics.get("accuracy") or metrics["mean"])["value"]
    return numbers


@pytest.mark.parametrize("name", ["weak", "strong"])
def test_inspects_own_numbers_come_out_of_its_zstd_log(name):
    path = LOGS / f"{name}.eval"
    with zipfile.ZipFile(path) as archive:
        assert {member.compress_type for member in archive.infolist()} == {93}
    (log,) = open_logs(path, name)
    numbers = own_numbers(path)
    assert set(numbers) == {
        *("sums match", "sums match (max)", "sums includes", "sums includes (max)")
    }
    assert log.reported == numbers and list(log.remarks()) == []
    for metric, number in numbers.items():
        assert log.mean(metric) == pytest.approx(number)
    assert len(log.items) == 8 and log.items["sums/sum-3"].prompt == "What is 3 + 4?"


def test_the_logs_of_a_folder_are_a_log_for_each_model(tmp_path):
    for name in ("weak", "strong"):
        shutil.copy(LOGS / f"{name}.eval", tmp_path / f"2026-01-0{len(name)}_{name}.eval")
    logs = open_logs(tmp_path, "logs")
    assert [log.name for log in logs] == ["logs mockllm/weak", "logs mockllm/strong"]
    shutil.copy(LOGS / "weak.eval", tmp_path / "2026-01-09_again.eval")
    logs = open_logs(tmp_path, "logs")
    assert logs[0].notes == ["1 other logs of the same tasks are left out"]
    assert logs[1].notes == []


def test_two_models_under_inspect_become_a_page(tmp_path, capsys):
    page = tmp_path / "c.html"
    paths = [f"{name}={LOGS / f'{name}.eval'}" for name in ("weak", "strong")]
    assert main([*paths, "--out", str(page)]) == 0
    assert "sums match" in capsys.readouterr().out and "What is 3 + 4?" in page.read_text()


def test_a_damaged_member_is_a_user_error(tmp_path):
    path = tmp_path / "log.eval"
    data = bytearray((LOGS / "weak.eval").read_bytes())
    for place in range(200, 20000):
        data[place] ^= 0x55
    path.write_bytes(bytes(data))
    with pytest.raises(UserError):
        open_logs(path, "log")


def answers(name, share):
    """A model of inspect that adds rightly with this chance, seeded."""
    import random
    import re

    from inspect_ai.model import ModelOutput, ModelUsage, get_model

    rng = random.Random(0)

    def answer(messages, tools, tool_choice, config):
        numbers = [int(number) for number in re.findall(r"\d+", messages[-1].text)[-2:]]
        text = str(sum(numbers)) if rng.random() < share else "I do not know."
        output = ModelOutput.from_content(f"mockllm/{name}", text)
        output.usage = ModelUsage(input_tokens=9, output_tokens=3, total_tokens=12)
        return output

    return get_model(f"mockllm/{name}", custom_outputs=answer, memoize=False)


def tasks():
    """Tasks of inspect whose logs differ in form; the options of `eval` beside each."""
    from inspect_ai import Epochs, Task
    from inspect_ai.dataset import Sample
    from inspect_ai.scorer import Score, accuracy, grouped, match, mean, model_graded_qa, scorer
    from inspect_ai.solver import generate, solver

    @solver
    def break_some():
        async def solve(state, generate):
            if state.epoch == 2 and state.sample_id in ("s3", "s4"):
                raise ValueError("planted")
            return await generate(state)

        return solve

    @scorer(metrics={"letters": [mean()], "right": [mean()]})
    def two_values():
        async def score(state, target):
            text = state.output.completion
            return Score(value={"letters": len(text), "right": text == target.text})

        return score

    @scorer(metrics=[accuracy()])
    def none_for_some():
        async def score(state, target):
            if state.sample_id in ("s0", "s7"):
                return None
            return Score(value="C" if state.output.completion == target.text else "I")

        return score

    samples = []
    for first, second in SUMS:
        text = "word " * 2000 + f"What is {first} + {second}?"
        kind = {"kind": "odd" if first % 2 else "even"}
        samples.append(
            Sample(id=f"s{first}", input=text, target=str(first + second), metadata=kind)
        )
    exact = match(location="exact")
    grader = answers("grader", 0.0)  # whatever it says, it is no grade
    by_kind = [accuracy(), grouped(accuracy(), "kind")]
    reducers = Epochs(3, ["mode", "mean", "at_least_2", "pass_at_2"])
    listed = {
        "reducers": ({"scorer": exact, "epochs": reducers}, {}),
        "breaks": ({"scorer": exact, "epochs": 2, "fail_on_error": False}, {}),
        "values": ({"scorer": two_values()}, {}),
        "nothing": ({"scorer": none_for_some()}, {}),
        "grouped": ({"scorer": exact, "metrics": by_kind}, {}),
        "no_grade": ({"scorer": [model_graded_qa(model=grader), exact]}, {}),
        "limited": ({"scorer": exact, "message_limit": 1}, {}),
        "few": ({"scorer": exact}, {"limit": 3}),
        "no_samples": ({"scorer": exact}, {"log_samples": False}),
        "as_json": ({"scorer": exact}, {"log_format": "json"}),
    }
    for name, (options, of_eval) in listed.items():
        how = break_some() if name == "breaks" else generate()
        yield Task(dataset=samples, solver=how, name=name, **options), of_eval


@pytest.mark.slow
@pytest.mark.skipif(find_spec("inspect_ai") is None, reason="inspect_ai is not installed")
def test_inspects_numbers_come_out_of_every_kind_of_log(tmp_path):
    from inspect_ai import eval as run_task

    for task, options in tasks():
        options = options | {"log_dir": str(tmp_path), "display": "none"}
        run_task(task, model=answers("model", 0.6), **options)
    files = sorted(tmp_path.glob("*.*"))
    assert len(files) == 10
    (log,) = open_logs(tmp_path, "model")
    for file in files:
        (alone,) = open_logs(file, "model")
        numbers = own_numbers(file)
        for metric in numbers.keys() & alone.scores.keys():
            assert alone.mean(metric) == pytest.approx(numbers[metric], abs=1e-9), metric
            assert log.values(metric) == alone.values(metric)
        # a grader that never grades gives no value at all
        assert numbers.keys() - alone.scores.keys() <= {"no_grade model_graded_qa"}
    assert log.items["reducers/s3"].prompt.endswith("What is 3 + 4?")
