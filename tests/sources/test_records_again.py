"""Records that are read again each time: never all in memory, and the same as a list of them."""

import json
import tracemalloc

import pytest

from stages.guards.errors import UserError
from stages.preferences import human_pairs
from stages.runtime import row_files
from stages.runtime.artifacts import Result, finish_artifact
from stages.runtime.row_files import StoredRows, read_rows, write_rows
from stages.runtime.rows import Dropped, Pair, Prompt
from stages.sources.records import Records, open_records
from stages.text import prompts
from tests.running import AloneContext
from tests.sources.reading import lines


class StoringContext(AloneContext):
    """Stores rows as a run does, in a folder."""

    def __init__(self, folder):
        super().__init__()
        self.folder = folder

    def store_rows(self, rows, row_type):
        return write_rows(self.folder / "rows.parquet", rows, row_type)


def write_pairs(path, count):
    with path.open("w") as stream:
        for i in range(count):
            record = {
                "prompt": f"request {i} " * 20,
                "chosen": f"{i} " * 50,
                "rejected": "no " * 50,
            }
            stream.write(json.dumps(record) + "\n")
    return path


def peak_of(action):
    tracemalloc.start()
    action()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak


@pytest.mark.parametrize("stage", [prompts, human_pairs])
def test_memory_grows_with_the_file_and_not_with_the_rows(tmp_path, stage, monkeypatch):
    """The bytes of the file and the ids of the rows stay; records and rows pass."""
    monkeypatch.setattr(row_files, "BATCH", 100)
    counts = (300, 1_000)
    peaks = []
    sizes = []
    for count in counts:
        path = write_pairs(tmp_path / f"{count}.jsonl", count)
        sizes.append(path.stat().st_size)
        config = stage.Config(source=str(path))
        context = StoringContext(tmp_path)
        peaks.append(peak_of(lambda c=config, x=context: stage.run(c, {}, x)))
    growth = (peaks[1] - peaks[0]) / (counts[1] - counts[0])
    per_record = (sizes[1] - sizes[0]) / (counts[1] - counts[0])
    assert growth < per_record + 400


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "a.parquet"])
def test_records_are_the_same_each_time(tmp_path, name):
    import pandas as pd

    table = pd.DataFrame({"prompt": ["a", "b"], "kind": ["x", "y"]})
    path = tmp_path / name
    if name.endswith("parquet"):
        table.to_parquet(path)
    elif name.endswith("csv"):
        table.to_csv(path, index=False)
    else:
        path.write_text(table.to_json(orient="records", lines=name.endswith("jsonl")))
    records = Records(open_records(path))
    first = list(records)
    assert [record.cells["prompt"] for record in first] == ["a", "b"]
    assert list(records) == first
    assert (len(records), records.columns) == (2, ["prompt", "kind"])


@pytest.mark.parametrize(
    ("encoding", "mark"), [("utf-8", b""), ("utf-8", b"\xef\xbb\xbf"), ("utf-16", b"")]
)
def test_lines_in_other_encodings(tmp_path, encoding, mark):
    path = tmp_path / "a.jsonl"
    texts = ["Grüße \u2028 \U0001f600", "b"]
    content = "\r\n".join(json.dumps({"prompt": text}, ensure_ascii=False) for text in texts)
    path.write_bytes(mark + f"{content}\n\n".encode(encoding))
    records = list(open_records(path)())
    assert [record.cells["prompt"] for record in records] == texts
    assert [record.location for record in records] == [f"{path}:1", f"{path}:2"]


def test_a_byte_that_is_not_utf8_is_named_with_its_line(tmp_path):
    path = tmp_path / "a.jsonl"
    good = b'{"prompt": "a"}\n'
    path.write_bytes(good * 3 + b'{"prompt": "\xff"}\n' + good)
    with pytest.raises(UserError, match=r"byte 60: 0xff") as error:
        open_records(path)
    assert error.value.where == f"{path}:4"


def test_a_fault_in_the_middle_is_named_and_other_rows_stay(tmp_path):
    path = tmp_path / "a.jsonl"
    records = [{"prompt": "q", "chosen": f"{i}", "rejected": "no"} for i in range(6)]
    del records[2]["rejected"]
    records[4] = [1]
    path.write_text(lines(*records))
    result = human_pairs.run(human_pairs.Config(source=str(path)), {}, StoringContext(tmp_path))
    assert [row.chosen for row in result.rows] == ["0", "1", "3", "5"]
    assert [(row.id, row.reason) for row in result.dropped] == [
        ("a.jsonl:3", "no column 'rejected' in the record"),
        ("a.jsonl:5", "a list where an object is expected"),
    ]
    path.write_text(f"{lines(*records[:3])}\n{{broken\n{lines(records[3])}")
    with pytest.raises(UserError, match="broken JSON") as error:
        human_pairs.run(human_pairs.Config(source=str(path)), {}, StoringContext(tmp_path))
    assert error.value.where == f"{path}:4"


@pytest.mark.parametrize("stage", [prompts, human_pairs])
def test_an_empty_file_gives_no_row(tmp_path, stage):
    path = tmp_path / "a.jsonl"
    path.write_text("\n")
    with pytest.raises(UserError, match="the source gave no"):
        stage.run(stage.Config(source=str(path)), {}, StoringContext(tmp_path))


def test_a_part_of_the_rows_leaves_all_counts(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(lines(*({"prompt": text} for text in "abcada")))
    whole = prompts.run(prompts.Config(source=str(path)), {}, AloneContext())
    part = prompts.run(prompts.Config(source=str(path), offset=1, limit=2), {}, AloneContext())
    assert [row.source for row in part.rows] == ["a.jsonl:2", "a.jsonl:3"]
    assert part.dropped == whole.dropped
    assert [row.id for row in whole.dropped] == ["a.jsonl:4", "a.jsonl:6"]
    mixed = prompts.run(prompts.Config(source=str(path), shuffle=True), {}, AloneContext())
    assert {row.id for row in mixed.rows} == {row.id for row in whole.rows}


def test_stored_rows_are_those_of_a_list(tmp_path):
    rows = [Prompt(id=f"{i}", messages=[], kind="k") for i in range(10_500)]
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other):
        folder.mkdir()
    stored = write_rows(one / "rows.parquet", iter(rows), Prompt)
    assert isinstance(stored, StoredRows)
    assert (len(stored), list(stored)) == (len(rows), rows)
    dropped = [Dropped(id="x", reason="r")]
    facts = {"seconds": 0.0, "calls": {}, "versions": {}, "content": ""}
    for folder, held in ((one, stored), (other, rows)):
        finish_artifact(folder, "s", {"stage": "s"}, Result(held, Prompt, dropped), facts)
    for name in ("rows.parquet", "dropped.parquet"):
        assert (one / name).read_bytes() == (other / name).read_bytes()
    third = tmp_path / "third"  # rows that lie in another step's folder are copied
    third.mkdir()
    finish_artifact(third, "s", {"stage": "s"}, Result(stored, Prompt), facts)
    assert read_rows(third / "rows.parquet", Prompt) == rows


def test_pairs_of_a_file_with_a_column_of_verdicts(tmp_path):
    """The verdicts of usable records are not mixed up by those that lack a column."""
    records = [{"prompt": f"q{i}", "a": "x", "b": "y", "w": i % 2} for i in range(6)]
    del records[1]["b"]
    path = tmp_path / "a.jsonl"
    path.write_text(lines(*records))
    config = human_pairs.Config(
        source=str(path), prompt=("prompt",), chosen="a", rejected="b", better="w"
    )
    rows = human_pairs.run(config, {}, AloneContext()).rows
    assert [row.chosen for row in rows] == ["x", "x", "y", "x", "y"]
    assert all(isinstance(row, Pair) for row in rows)


def test_more_text_than_a_column_of_arrow_holds_is_written_in_parts(tmp_path, monkeypatch):
    """Of 44 lines of 50 MB Arrow makes a column in chunks, which no batch can hold."""
    make_array = row_files.pa.array

    def at_most_three(values, kind):
        array = make_array(values, kind)
        return array if len(values) < 4 else row_files.pa.chunked_array([array])

    rows = [Prompt(id=f"{i}", messages=[], kind="k") for i in range(10)]
    with monkeypatch.context() as patch:
        patch.setattr(row_files.pa, "array", at_most_three)
        stored = write_rows(tmp_path / "rows.parquet", rows, Prompt)
    assert (len(stored), list(stored)) == (10, rows)
    sizes = []
    for batch in row_files._each_batch(tmp_path / "rows.parquet", Prompt, None):
        sizes.append(len(batch))
    assert max(sizes) <= 3, "groups are not read together"
