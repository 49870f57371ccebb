"""Files that are made to break their reader: one message or dropped rows, never a traceback."""

import gzip
import io
import json
import os
import random
import tracemalloc

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stages.guards import decoding
from stages.guards.errors import UserError
from stages.sources.source import Source, source_identity
from tests.fuzz.data_files import RAW, STAGES_THAT_READ, draw_file, find_fault
from tests.sources.reading import lines, read, requests


def parquet(table, **options) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("start", range(0, 60, 10))
def test_drawn_files_are_read_or_refused_in_one_message(tmp_path, start):
    for seed in range(start, start + 10):
        chance = random.Random(seed)
        path = draw_file(chance, tmp_path)
        assert find_fault(path, chance.choice(STAGES_THAT_READ)) == "", (seed, path)


@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".csv", ".tsv"])
def test_texts_that_are_no_tables_of_records(tmp_path, suffix):
    for number, text in enumerate(RAW):
        if len(text) < 200_000:
            path = tmp_path / f"{number}{suffix}"
            path.write_bytes(text.encode("utf-8", "surrogatepass"))
            assert find_fault(path, "prompts") == "", text[:80]


@pytest.mark.parametrize("piece", [b"\x00", b" ", b"[", b'{"prompt": "a"}\n', b"a,"])
def test_a_file_that_unpacks_to_far_more_than_its_size_is_refused(tmp_path, monkeypatch, piece):
    monkeypatch.setattr(decoding, "ALWAYS_UNPACKED", 2**20)
    data = gzip.compress(piece * (2**24 // len(piece)))
    tracemalloc.start()
    for packed in (data, gzip.compress(data)):
        with pytest.raises(UserError, match="holds more than"):
            requests(tmp_path, "bomb.jsonl.gz", packed)
    assert tracemalloc.get_traced_memory()[1] < 2**24
    tracemalloc.stop()


def test_a_file_that_is_packed_over_and_over_is_refused(tmp_path):
    data = lines({"prompt": "A"}).encode()
    for _ in range(3):
        data = gzip.compress(data)
    assert requests(tmp_path, "a.jsonl", data) == [["A"]]
    with pytest.raises(UserError, match="compressed more than 3 times"):
        requests(tmp_path, "a.jsonl", gzip.compress(data))
    with pytest.raises(UserError, match="damaged"):
        requests(tmp_path, "a.jsonl", gzip.compress(data)[:-5])


BOMBS = {
    "one text in many rows": pa.array(["x" * 9000] * 100_000).dictionary_encode(),
    "one number in many rows": pa.array([1] * 3_000_000),
    "one text in many lists": pa.array([["x" * 9000]] * 40_000),
}


@pytest.mark.parametrize("name", BOMBS)
def test_parquet_that_holds_far_more_than_its_size_is_refused(tmp_path, name):
    data = parquet(pa.table({"prompt": BOMBS[name]}), compression="zstd")
    assert len(data) < 100_000
    with pytest.raises(UserError, match="far more than its size"):
        read(tmp_path, "prompts", "a.parquet", data)


FAR = pa.array([2**62, -(2**62)], pa.int64())
ODD_COLUMNS = {
    "far dates": FAR.view(pa.timestamp("s")),
    "an unknown zone": FAR.view(pa.timestamp("us", tz="Mars/Olympus")),
    "a zone of 99 hours": pa.array([0, 1], pa.timestamp("s", tz="+99:99")),
    "far days": pa.array([2**30, -(2**30)], pa.int32()).view(pa.date32()),
    "far durations": FAR.view(pa.duration("s")),
    "nested far dates": pa.StructArray.from_arrays([FAR.view(pa.timestamp("s"))], ["a"]),
    "nothing": pa.nulls(2),
    "bytes": pa.array([b"\xff", b"\x00"]),
    "a key twice in a map": pa.array([[("a", 1), ("a", 2)], []], pa.map_(pa.string(), pa.int8())),
    "decimals": pa.array([1, 2]).cast(pa.decimal128(30, 5)),
    "texts by number": pa.array(["a", "a"]).dictionary_encode(),
    "text that is not UTF-8": pa.array([b"\xff", b"\xfe"]).view(pa.string()),
}


@pytest.mark.filterwarnings("ignore:Encountered key")
@pytest.mark.parametrize("name", ODD_COLUMNS)
def test_an_odd_column_that_nobody_reads_stops_nothing(tmp_path, name):
    table = pa.table({"prompt": ["A", "B"], "other": ODD_COLUMNS[name]})
    assert requests(tmp_path, "a.parquet", parquet(table)) == [["A"], ["B"]]
    asked = parquet(pa.table({"prompt": ODD_COLUMNS[name], "other": ["A", "B"]}))
    (tmp_path / "b.parquet").write_bytes(asked)
    assert find_fault(tmp_path / "b.parquet", "prompts") == ""


def test_two_columns_of_one_name_and_very_many_columns_are_refused(tmp_path):
    doubled = pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], ["prompt", "prompt"])
    with pytest.raises(UserError, match="two columns are called 'prompt'"):
        requests(tmp_path, "a.parquet", parquet(doubled))
    names = [f"c{number}" for number in range(20_001)]
    with pytest.raises(UserError, match="20,001 columns"):
        requests(tmp_path, "a.csv", ",".join(names) + "\n1\n")
    with pytest.raises(UserError, match="lack most"):
        requests(tmp_path, "b.csv", ",".join(names[:20_000]) + "\n" + "1\n" * 600)


@pytest.mark.parametrize(
    "text", ["\u200b", "\u200d\ufeff", " \u2060 ", "\u202e", "\u00ad", "\u3164"]
)
def test_a_text_that_shows_nothing_is_dropped_with_a_reason(tmp_path, text):
    messages = [{"role": "user", "content": text}]
    for cell in (text, messages, json.dumps(messages)):
        rows, dropped, _ = read(tmp_path, "prompts", "a.jsonl", lines({"prompt": cell}))
        assert not rows and dropped == {"no user turn": 1}
    sides = {"prompt": "q", "chosen": text, "rejected": "b"}
    rows, dropped, _ = read(tmp_path, "human_pairs", "b.jsonl", lines(sides))
    assert not rows and sum(dropped.values()) == 1


def test_rows_that_are_no_records_are_dropped_and_counted(tmp_path):
    content = '{"prompt": "A"}\n\nnull\n5\n[1]\n{"prompt": "B"}'
    rows, dropped, _ = read(tmp_path, "prompts", "a.jsonl", content)
    assert len(rows) == 2
    assert dropped == {
        f"{kind} where an object is expected": 1 for kind in ("a null", "an int", "a list")
    }


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ('id,prompt\n1,"open\n2,b\n3,"c"\n', 2),
        ('id,prompt\n1,"open\n2,"b"\n3,c\n', 2),
        ('id,prompt\n0,"a" b\n1,"a" b,"c\n2,b\n"3",c\n', 3),
        (
            "id,prompt\n1,a\n"
            + "".join(f'{n},"b\n' if n == 2 else f"{n},b\n" for n in range(2, 9))
            + '9,c"\n',
            3,
        ),
    ],
)
def test_an_open_quote_that_swallows_rows_stops_with_its_line(tmp_path, content, line):
    with pytest.raises(UserError, match="a quote is opened") as caught:
        requests(tmp_path, "a.csv", content)
    assert caught.value.where.endswith(f"a.csv:{line}")


@pytest.mark.parametrize(
    "cell", ["two\nlines", "a list\n\n- b, c\n- d\n\nend", "a,b\nc", '"quoted"\nx', "x,y\n" * 2]
)
def test_cells_of_several_lines_stay_whole(tmp_path, cell):
    quoted = cell.replace('"', '""')
    assert requests(tmp_path, "a.csv", f'id,prompt\n1,"{quoted}"\n') == [[cell.strip()]]
    assert requests(tmp_path, "b.csv", f'id,prompt\n1,"{quoted}"\n2,b\n') == [[cell.strip()], ["b"]]


def test_a_name_that_is_not_utf_8_gives_rows_that_can_be_written(tmp_path):
    path = tmp_path / "caf\udce9.jsonl"
    path.write_text(lines({"prompt": "A"}, {"prompt": None}))
    assert find_fault(path, "prompts") == ""


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("nowhere", path)])
@pytest.mark.parametrize("name", ["data.jsonl", "owner"])
def test_a_source_that_is_no_file_is_refused_and_no_id_of_the_hub(tmp_path, make, name):
    make(tmp_path / name)
    with pytest.raises(UserError, match=r"not a file|leads nowhere"):
        source_identity(Source(source=str(tmp_path / name)))
