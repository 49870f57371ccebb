from xml.etree import ElementTree

from stages.report.views import svg

HOSTILE = "<b>\"quoted\" & 'single'</b> \x00\x1b\ufffe"
READABLE = "<b>\"quoted\" & 'single'</b> \ufffd\ufffd\ufffd"


def test_texts_and_attributes_are_escaped_and_lose_what_xml_forbids():
    element = ElementTree.fromstring(svg.tag("text", svg.plain(HOSTILE), aria_label=HOSTILE))
    assert element.text == READABLE
    assert element.get("aria-label") == READABLE
    assert ElementTree.fromstring(svg.title("two\nlines")).text == "two\nlines"


def test_attributes_are_written_short():
    circle = svg.tag("circle", kind="dot", cx=1.25, r=3, style=None)
    assert circle == '<circle class="dot" cx="1.2" r="3"/>'
    assert svg.text(0, 0, "", "label") == ""
    assert 'points="0.0,1.0 2.0,3.5"' in svg.polyline([(0, 1), (2, 3.5)], kind="curve")


def test_a_drawing_says_in_words_what_it_shows():
    drawing = svg.drawing(10, 20.5, "loss < 1", [svg.line(0, 0, 1, 1, "grid")])
    element = ElementTree.fromstring(drawing)
    assert element.get("aria-label") == "loss < 1"
    assert element.get("viewBox") == "0 0 10 20.5"
    assert [child.tag for child in element] == ["line"]
