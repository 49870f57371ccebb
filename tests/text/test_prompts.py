"""Where prompts come from, and what a broken source says."""

import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stages.guards.errors import UserError
from stages.preferences import human_pairs as pairs
from stages.sources.conversations import read_prompts
from stages.sources.records import read_file
from stages.text.prompts import Config, identity, run
from tests.running import AloneContext

TALK = (
    "\n\nHuman: How do I do this: step one?\n\nAssistant: Well."
    "\n\nHuman: And: now?\n\nAssistant: Bye."
)


def prompts(**options):
    return run(Config(**options), {}, AloneContext()).rows


def test_every_kind_of_file(tmp_path):
    records = [{"prompt": "one"}, {"prompt": "two"}, {"prompt": "one"}]
    lines = "\n".join(json.dumps(r) for r in records) + "\n"
    (tmp_path / "a.jsonl").write_text(lines)
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    (tmp_path / "a.json").write_text(json.dumps(records))
    (tmp_path / "a.csv").write_text('id,prompt\n1,one\n2,"two"\n3,one\n')
    (tmp_path / "a.tsv").write_text("id\tprompt\n1\tone\n2\ttwo\n")
    pq.write_table(pa.Table.from_pylist(records), tmp_path / "a.parquet")
    made = {}
    for name in ("a.jsonl", "a.jsonl.gz", "a.json", "a.csv", "a.tsv", "a.parquet"):
        rows = prompts(source=str(tmp_path / name))
        made[name] = [(row.id, row.messages[0]["content"]) for row in rows]
    assert all(rows == made["a.jsonl"] for rows in made.values())
    assert [text for _, text in made["a.jsonl"]] == ["one", "two"]


def test_the_kind_may_stand_in_a_column(tmp_path):
    (tmp_path / "x.csv").write_text("prompt,label\none,safe\ntwo,unsafe\nthree,\n")
    rows = prompts(source=str(tmp_path / "x.csv"), kind_column="label", kind="other")
    assert [(row.messages[0]["content"], row.kind) for row in rows] == [
        ("one", "safe"),
        ("two", "unsafe"),
        ("three", "other"),
    ]
    with pytest.raises(UserError, match=r"no column 'lable'. Did you mean 'label'"):
        prompts(source=str(tmp_path / "x.csv"), kind_column="lable")


def test_transcripts():
    assert [m["content"] for m in read_prompts(TALK, "last")[0]] == [
        "How do I do this: step one?",
        "Well.",
        "And: now?",
    ]
    assert [len(c) for c in read_prompts(TALK, "each")] == [1, 3]
    assert read_prompts(TALK, "first") == [
        [{"role": "user", "content": "How do I do this: step one?"}]
    ]
    assert read_prompts("\n\nAssistant: hello", "last") == []
    assert read_prompts([{"role": "user", "content": "x"}], "last")[0][0]["content"] == "x"


def test_line_57_is_named(tmp_path):
    path = tmp_path / "p.jsonl"
    lines = [json.dumps({"prompt": f"p{i}"}) for i in range(1, 100)]
    lines[56] = '{"prompt": "broken'
    path.write_text("\n".join(lines))
    with pytest.raises(UserError, match=r"p\.jsonl:57: broken JSON"):
        prompts(source=str(path))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "gave no prompt"),
        ('{"promt": "x"}', "no column 'prompt'. Did you mean 'promt'"),
        ("[1]", "a list where"),
        ('{"prompt": 3}', "a int where"),
        (
            '{"prompt": "\\ud83d"}',
            r"gave no prompt \(1 x broken Unicode \(p\.jsonl:1: '\\ud83d', an unpaired surrogate",
        ),
        ('{"prompt": ' + "[" * 200_000, "nested too deep"),
        ('{"prompt": ' + "1" * 5000 + "}", "4300"),
        ('{"prompt": null}', "gave no prompt"),
    ],
)
def test_bad_files(tmp_path, content, message):
    path = tmp_path / "p.jsonl"
    path.write_text(content)
    with pytest.raises(UserError, match=message):
        prompts(source=str(path))


@pytest.mark.parametrize("source", ["nowhere.jsonl", "a/b/c.jsonl", "os.path:nothing", "x.exe"])
def test_bad_sources(source, tmp_path):
    with pytest.raises(UserError, match=source.split(":")[0]):
        identity(Config(source=source))
        prompts(source=source)


def test_torn_gzip_and_wrong_encoding(tmp_path):
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(b'{"prompt": "x"}')[:-6])
    (tmp_path / "b.jsonl").write_bytes(b'{"prompt": "\xff"}')
    (tmp_path / "c.parquet").write_bytes(b"not parquet")
    whole = bytearray(gzip.compress(b'{"prompt": "x"}' * 50))
    whole[12:20] = b"\xff" * 8
    (tmp_path / "d.jsonl.gz").write_bytes(whole)
    for name in ("a.jsonl.gz", "b.jsonl", "c.parquet", "d.jsonl.gz"):
        with pytest.raises(UserError, match=name):
            list(read_file(tmp_path / name))


def test_order_limit_and_drops(tmp_path):
    path = tmp_path / "p.jsonl"
    path.write_text(
        "\n".join(json.dumps({"prompt": f"p{i % 90}"}) for i in range(100)) + '\n{"prompt": ""}'
    )
    result = run(Config(source=str(path), limit=10, offset=5), {}, AloneContext())
    assert [r.messages[0]["content"] for r in result.rows] == [f"p{i}" for i in range(5, 15)]
    assert sorted({d.reason for d in result.dropped}) == ["duplicate prompt", "no user turn"]
    shuffled = prompts(source=str(path), shuffle=True)
    assert len(shuffled) == 90 and [r.id for r in shuffled] != [
        r.id for r in prompts(source=str(path))
    ]
    assert shuffled == prompts(source=str(path), shuffle=True)


def test_a_file_is_known_by_its_content(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"prompt": "x"}')
    (tmp_path / "b.jsonl").write_text('{"prompt": "x"}')
    assert identity(Config(source=str(tmp_path / "a.jsonl"))) == identity(
        Config(source=str(tmp_path / "b.jsonl"))
    )


def test_what_a_spreadsheet_or_a_crawl_brings(tmp_path):
    """A byte-order mark, an empty cell, a transcript of more than 128 KB, and U+2028 and U+0085
    inside a text.
    """
    (tmp_path / "a.csv").write_text(
        f"prompt,id\none,1\n,2\n{'long ' * 40_000},3\n", encoding="utf-8-sig"
    )
    result = run(Config(source=str(tmp_path / "a.csv")), {}, AloneContext())
    assert len(result.rows) == 2 and [d.reason for d in result.dropped] == ["no user turn"]
    (tmp_path / "a.jsonl").write_text(
        '{"prompt": "one\u2028two\u0085three"}\r\n{"prompt": null}\n',
        encoding="utf-8-sig",
        newline="",
    )
    result = run(Config(source=str(tmp_path / "a.jsonl")), {}, AloneContext())
    assert [r.messages[0]["content"] for r in result.rows] == ["one\u2028two\u0085three"] and len(
        result.dropped
    ) == 1


def test_shares_are_those_of_human_pairs(tmp_path):
    """A method can learn from people's pairs and be tested on requests of other dialogues."""
    source = tmp_path / "pairs.jsonl"
    records = []
    for number in range(60):
        opening = f"\n\nHuman: question {number}\n\nAssistant: hm\n\nHuman: and?\n\nAssistant: "
        records.append({"chosen": opening + "yes", "rejected": opening + "no"})
    source.write_text("\n".join(json.dumps(record) for record in records))
    learnt = pairs.run(pairs.Config(source=str(source), share=(0.0, 0.6)), {}, AloneContext()).rows
    tested = run(Config(source=str(source), column="chosen", share=(0.6, 1.0)), {}, AloneContext())
    openings = [{row.prompt[0]["content"] for row in learnt}]
    openings.append({row.messages[0]["content"] for row in tested.rows})
    assert not openings[0] & openings[1]
    assert len(openings[0]) + len(openings[1]) == 60 and min(map(len, openings)) > 10
    assert {row.reason for row in tested.dropped} == {"in another share"}
