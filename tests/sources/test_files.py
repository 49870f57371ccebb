"""Kinds of file: what is read, what is dropped, and what stops with its reason."""

import bz2
import gzip
import io
import json
import lzma

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stages.guards.errors import UserError
from tests.running import run_steps
from tests.sources.reading import lines, read, requests

AB = [["a, b"], ["c"]]
RECORDS = [{"prompt": "a, b", "id": 1}, {"prompt": "c", "id": 2}]
JSONL = lines(*RECORDS)
FILES = {
    "lines.json": JSONL,
    "list.jsonl": json.dumps(RECORDS, indent=1),
    "list in a line.jsonl": json.dumps(RECORDS),
    "objects over lines.jsonl": "\n".join(json.dumps(r, indent=1) for r in RECORDS),
    "one after the other.json": "".join(json.dumps(r, indent=1) for r in RECORDS),
    "carriage returns.jsonl": JSONL.replace("\n", "\r"),
    "data.json": json.dumps({"version": 2, "data": RECORDS}),
    "viewer.json": json.dumps({"rows": [{"row_idx": 0, "row": r} for r in RECORDS]}),
    "columns.json": json.dumps({"prompt": ["a, b", "c"], "id": [1, 2]}),
    "pandas.json": json.dumps({"prompt": {"0": "a, b", "1": "c"}, "id": {"0": 1, "1": 2}}),
    "split.json": json.dumps({"columns": ["id", "prompt"], "data": [[1, "a, b"], [2, "c"]]}),
    "excel.csv": "sep=;\nid;prompt\n1;a, b\n2;c\n",
    "texts.json": json.dumps(["a, b", "c"]),
    "x.ndjson": JSONL,
    "semicolon.csv": "id;prompt\n1;a, b\n2;c\n",
    "tab.csv": "id\tprompt\n1\ta, b\n2\tc\n",
    "bar.csv": "id|prompt\n1|a, b\n2|c\n",
    "single quotes.csv": "'id','prompt'\n'1','a, b'\n'2','c'\n",
    "spaces.csv": ' id , prompt\n1,"a, b"\n2,c\n',
    "carriage returns.csv": 'id,prompt\r1,"a, b"\r2,c\r',
    "utf16.csv": 'id,prompt\n1,"a, b"\n2,c\n'.encode("utf-16"),
    "utf16be.jsonl": f"\ufeff{JSONL}".encode("utf-16-be"),
    "bom.json": JSONL.encode("utf-8-sig"),
    "a.jsonl.bz2": bz2.compress(JSONL.encode()),
    "a.jsonl.xz": lzma.compress(JSONL.encode()),
    "a.jsonl.zst": pa.compress(JSONL.encode(), codec="zstd", asbytes=True),
    "gzip without its suffix.jsonl": gzip.compress(JSONL.encode()),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_another_kind_is_read_alike(tmp_path, name):
    assert requests(tmp_path, name, FILES[name]) == AB


def test_quotes_of_other_tables(tmp_path):
    escaped = 'id,prompt\n1,"He said \\"hi, you\\" to me"\n'
    assert requests(tmp_path, "a.csv", escaped) == [['He said "hi, you" to me']]
    plain = 'id\tprompt\n1\t"Hi" is a word\n2\t"an open quote\n3\tlast\n'
    assert requests(tmp_path, "b.tsv", plain) == [['"Hi" is a word'], ['"an open quote'], ["last"]]


def test_a_row_that_is_cut_in_too_many_places_is_dropped(tmp_path):
    rows, dropped, _ = read(tmp_path, "prompts", "a.csv", "id,prompt\n1,Name, please\n2,ok\n")
    assert [row.messages[0]["content"] for row in rows] == ["ok"]
    assert dropped == {"more cells than columns": 1}


def test_records_without_the_column_and_broken_unicode_are_dropped(tmp_path):
    content = (
        b'{"prompt": "\\ud83d"}\n{"prompt": "x \xed\xa0\xbd"}\n{"other": 1}\n{"prompt": NaN}\n'
    )
    rows, dropped, _ = read(tmp_path, "prompts", "a.jsonl", content + b'{"prompt": "ok"}')
    assert [row.messages[0]["content"] for row in rows] == ["ok"]
    assert dropped == {
        "broken Unicode": 2,
        "no column 'prompt' in the record": 1,
        "no user turn": 1,
    }
    whole = '{"prompt": "\\ud83d\\ude00"}'
    assert requests(tmp_path, "b.jsonl", whole) == [["\U0001f600"]]


def test_a_kind_with_broken_unicode_is_dropped(tmp_path):
    content = '{"prompt": "a", "topic": "\\udc00"}\n{"prompt": "b", "topic": "x"}'
    rows, dropped, _ = read(tmp_path, "prompts", "a.jsonl", content, kind_column="topic")
    assert [row.kind for row in rows] == ["x"] and dropped == {"broken Unicode": 1}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "a.csv",
            "prompt,id\nGr\xfc\xdfe,1\n".encode("latin-1"),
            r"a\.csv:2: .*Latin-1(?s:.*)iconv",
        ),
        ("a.jsonl", JSONL.encode("utf-16-le"), "UTF-16 without a byte-order mark"),
        ("a.csv", 'id,prompt\n1,"open\n2,b\n', r"a\.csv:2: a quote is opened and never closed"),
        ("b.csv", 'id,prompt\n1,"a" b\n2,"open\n', r"a quote is opened and never closed"),
        ("a.csv", "prompt,prompt\na,b\n", "two columns are called 'prompt'"),
        (
            "a.json",
            json.dumps({"train": RECORDS, "test": RECORDS}),
            "2 lists of records: train, te",
        ),
        ("a.jsonl", "[1]", "a list where an object is expected"),
    ],
)
def test_what_cannot_be_read_stops_with_its_reason(tmp_path, name, content, message):
    with pytest.raises(UserError, match=message):
        requests(tmp_path, name, content)


def test_one_record_with_messages_is_not_taken_for_a_list_of_records(tmp_path):
    record = {"messages": [{"role": "user", "content": "a"}]}
    assert requests(tmp_path, "a.json", json.dumps(record)) == [["a"]]
    nectar = {"prompt": "q", "answers": [{"answer": "a", "rank": 1}, {"answer": "b", "rank": 2}]}
    rows, _, _ = read(tmp_path, "human_pairs", "b.json", json.dumps(nectar, indent=1))
    assert [(row.chosen, row.rejected) for row in rows] == [("a", "b")]


def test_nested_columns_of_parquet(tmp_path):
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": None}]
    columns = {"role": ["user", "assistant", "user"], "content": ["a", "b", "c"]}
    for name, cell, texts in (("a", turns, ["a"]), ("b", columns, ["a", "b", "c"])):
        path = tmp_path / f"{name}.parquet"
        pq.write_table(pa.Table.from_pylist([{"prompt": cell}]), path)
        assert requests(tmp_path, path.name, path.read_bytes()) == [texts]


def test_broken_unicode_in_any_cell_stops_nothing(tmp_path):
    bad = "\ud83d"
    turn = [{"role": "user", "content": "q"}]
    records = [
        {"prompt": "q", "chosen": "a", "rejected": "b", "system": bad},
        {"prompt": [{"role": bad, "content": "x"}], "chosen": "a", "rejected": "b", "system": ""},
        {"prompt": turn, "chosen": bad, "rejected": "b", "system": ""},
        {"prompt": turn, "chosen": "a", "rejected": "b", "system": ""},
    ]
    path = tmp_path / "a.jsonl"
    path.write_text(lines(*records))
    step = {"stage": "human_pairs", "source": str(path), "prompt": "prompt", "system": "system"}
    _, done = run_steps({"pairs": step}, tmp_path)
    assert len(done["pairs"].rows()) == 1
    assert done["pairs"].manifest.dropped == {
        "broken Unicode": 2,
        "a turn of an unknown role": 1,
    }
    assert {row.id for row in done["pairs"].dropped()} == {"a.jsonl:1", "a.jsonl:2", "a.jsonl:3"}
    scored = lines({"prompt": "q", "completion": "a", "label": bad})
    _, dropped, _ = read(tmp_path, "human_answers", "b.jsonl", scored)
    assert dropped == {"a label that says neither good nor bad": 1}


@pytest.mark.parametrize("stage", ["prompts", "human_answers", "human_pairs"])
@pytest.mark.parametrize("system", ["system", "system_prompt"])
def test_every_stage_reads_the_same_system_column(tmp_path, stage, system):
    record = {"prompt": "q", system: "s", "response": "a"}
    if stage == "human_pairs":
        record |= {"chosen": "x", "rejected": "y"}
    rows, _, _ = read(tmp_path, stage, "a.jsonl", lines(record))
    turns = rows[0].messages if stage == "prompts" else rows[0].prompt
    assert [turn["content"] for turn in turns] == ["s", "q"]


def test_options_beside_a_recognised_form_are_used_or_refused(tmp_path):
    content = lines({"prompt": "q", "response": "a", "own": "s"})
    rows, _, _ = read(tmp_path, "human_answers", "a.jsonl", content, system="own")
    assert [turn["content"] for turn in rows[0].prompt] == ["s", "q"]
    for options in ({"rank": True}, {"answers": "own"}, {"score": "own"}):
        with pytest.raises(UserError, match="go with `answer`"):
            read(tmp_path, "human_answers", "a.jsonl", content, **options)
    for option in ("system", "kind_column"):
        with pytest.raises(UserError, match="no column 'other'"):
            read(tmp_path, "human_answers", "a.jsonl", content, **{option: "other"})


def test_sides_of_two_forms_stop(tmp_path):
    record = {"prompt": "q", "chosen": "a", "rejected": "b"}
    record |= {"response_0": "x", "response_1": "y", "better_response_id": 1}
    content = lines(record)
    with pytest.raises(UserError, match="chosen, rejected; PKU-SafeRLHF"):
        read(tmp_path, "human_pairs", "a.jsonl", content)
    rows, _, _ = read(tmp_path, "human_pairs", "a.jsonl", content, prompt="prompt")
    assert (rows[0].chosen, rows[0].rejected) == ("a", "b")
    sides = {"chosen": "response_0", "rejected": "response_1", "better": "better_response_id"}
    rows, _, _ = read(tmp_path, "human_pairs", "a.jsonl", content, prompt="prompt", **sides)
    assert (rows[0].chosen, rows[0].rejected) == ("y", "x")


def test_joined_files(tmp_path):
    one = "\ufeffprompt,k\nA,1\n"
    rows, dropped, _ = read(tmp_path, "prompts", "a.csv", one + one.replace("A", "B"))
    assert [row.messages[0]["content"] for row in rows] == ["A", "B"]
    assert dropped == {"the header again": 1}
    joined = "\ufeff" + lines({"prompt": "A"}) + "\n\ufeff" + lines({"prompt": "B"})
    assert requests(tmp_path, "a.jsonl", joined) == [["A"], ["B"]]


def test_a_key_that_stands_twice_stops_with_the_line(tmp_path):
    content = '{"prompt": "A"}\n{"prompt": "B", "prompt": "C"}\n'
    for name in ("a.jsonl", "a.json"):
        with pytest.raises(UserError, match="'prompt' stands twice"):
            read(tmp_path, "prompts", name, content)


def test_files_are_what_their_first_bytes_say(tmp_path):
    buffer = io.BytesIO()
    pq.write_table(pa.table({"prompt": ["A"]}), buffer)
    assert requests(tmp_path, "a.csv", buffer.getvalue()) == [["A"]]
    content = lines({"prompt": "A"}).encode()
    assert requests(tmp_path, "a.jsonl.gz", gzip.compress(gzip.compress(content))) == [["A"]]
    assert requests(tmp_path, "A.JSONL", content) == [["A"]]
    with pytest.raises(UserError, match="it is a zip archive"):
        read(tmp_path, "prompts", "b.csv", b"PK\x03\x04\x00\x00")
    with pytest.raises(UserError, match="pointer of Git LFS"):
        read(tmp_path, "prompts", "c.jsonl", b"version https://git-lfs.github.com/spec/v1\n")


def test_a_nul_character_is_a_character(tmp_path):
    assert requests(tmp_path, "a.csv", "prompt\na\x00b\n") == [["a\x00b"]]
    with pytest.raises(UserError, match="UTF-16 without a byte-order mark"):
        read(tmp_path, "prompts", "b.csv", "prompt\na\n".encode("utf-16-le"))


def test_maps_in_parquet_are_turns(tmp_path):
    kind = pa.list_(pa.map_(pa.string(), pa.string()))
    column = pa.array([[[("role", "user"), ("content", "A")]]], type=kind)
    buffer = io.BytesIO()
    pq.write_table(pa.table({"messages": column}), buffer)
    assert requests(tmp_path, "a.parquet", buffer.getvalue()) == [["A"]]
