"""Csv files: texts from outside stay texts in a spreadsheet."""

import csv

import pytest

from stages.report.csv_files import FORMULA, write_csv

NUMBERS = ["-0.5", "+1e-3", "-inf", "12", 0.25, None, -3]


def read_back(path):
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.reader(stream))[1:]


@pytest.mark.parametrize("start", FORMULA)
@pytest.mark.parametrize("rest", ['cmd|"/c calc"!A0', 'HYPERLINK("http://x")', "- a list", "1+1"])
def test_a_text_that_a_spreadsheet_would_run_stays_text(tmp_path, start, rest):
    texts = [start + rest, f"  {start}{rest}"]
    write_csv(tmp_path / "a.csv", ("a", "b"), [texts])
    assert read_back(tmp_path / "a.csv") == [[f"'{text}" for text in texts]]
    write_csv(tmp_path / "b.csv", ("a", "b"), [texts], exact=True)
    assert read_back(tmp_path / "b.csv") == [texts]


def test_numbers_and_other_texts_are_unchanged(tmp_path):
    texts = ["plain", "a = b", "", "'=x", "half \ud83d"]
    write_csv(tmp_path / "a.csv", ("a",), [[value] for value in NUMBERS + texts])
    values = [row[0] if row else "" for row in read_back(tmp_path / "a.csv")]
    expected = ["" if value is None else str(value) for value in NUMBERS]
    assert values == [*expected, *texts[:-1], "half \\ud83d"]
