"""The drawings of a page stand alone: XML that needs no style sheet and no browser."""

import json
import re
from xml.etree import ElementTree

from stages.report import page
from stages.report.exports.figures import main, page_of, read_figures
from stages.report.views.charts import trade_off

RED = {"value": 0.4, "low": 0.3, "high": 0.5}
BLUE = {"value": 0.2, "low": 0.1, "high": 0.3}
SVG = "{http://www.w3.org/2000/svg}"


def write_page(folder):
    """The style sheet of every page around one drawing, and a sign of a legend."""
    sheets = (page.HERE / "report.css", page.HERE / "sweep" / "sweep.css")
    css = "\n".join(sheet.read_text() for sheet in sheets)
    points = [("base", RED, BLUE), ("policy", BLUE, RED)]
    drawing = trade_off(points, "violations", "evasive")
    drawing = drawing.replace("</svg>", '<rect class="zone"/></svg>')
    sign = '<svg viewBox="0 0 16 16"><path d="M0 0"/></svg>'
    sign += '<svg class="forest narrow" viewBox="0 0 9 9" aria-label="the same, narrow"></svg>'
    path = folder / "report.html"
    path.write_text(f"<html><style>{css}</style>{sign}{drawing}</html>")
    return path


def test_a_figure_has_all_that_it_needs(tmp_path):
    (figure,) = read_figures(write_page(tmp_path))
    root = ElementTree.fromstring(figure.svg)
    assert (root.get("width"), root.get("height")) == ("460", "320")
    assert figure.name == "01-evasive-against-violations-of-each-policy"
    names = [text.text for text in root.iter(f"{SVG}text") if text.get("class") == "label name"]
    assert names == ["base", "policy"]
    style = root.find(f"{SVG}style").text
    drawn = {name for element in root.iter() for name in element.get("class", "").split()}
    styled = set(re.findall(r"\.([a-z][\w-]*)", style))
    assert {"dot", "whisker", "tick"} <= styled & drawn
    assert "svg .zone { fill: rgba(98, 101, 107, 0.13); }" in style
    assert "h1" not in style
    assert set(re.findall(r"var\(([^)]*)", figure.svg)) <= {"--mark"}  # which a rule of it defines
    assert "http" not in figure.svg.replace("http://www.w3.org/2000/svg", "")


def test_the_command_writes_files_and_reports_a_page_without_drawings(tmp_path, capsys):
    path = write_page(tmp_path)
    out = tmp_path / "new" / "figures"
    assert main([str(path), "--out", str(out)]) == 0
    assert [file.name for file in out.iterdir()] == [
        "01-evasive-against-violations-of-each-policy.svg"
    ]
    path.write_text("<html></html>")
    assert main([str(path), "--out", str(out)]) == 2
    assert "has no drawing" in capsys.readouterr().err


def test_the_report_of_a_run_or_of_an_ablation_is_found_by_its_folder(tmp_path, capsys):
    artifact = tmp_path / "report-1234"
    sweep = tmp_path / "sweep" / "ablation"
    run = tmp_path / "run"
    for folder in (artifact, sweep, run):
        folder.mkdir(parents=True)
    reports = [write_page(artifact), write_page(sweep)]
    steps = {"base": {"artifact": str(tmp_path / "base-1")}, "report": {"artifact": str(artifact)}}
    record = {"variant": "full", "seed": 0, "steps": steps}
    (run / "run.json").write_text(json.dumps(record))
    assert [page_of(run), page_of(sweep.parent)] == reports
    assert main([str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "has no report" in capsys.readouterr().err
