"""The report: well-formed HTML, any names, no outside references, and right figures."""

import base64
import dataclasses
import io
import math
import re
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import soundfile

from chirrup.evaluate.report import write_report
from chirrup.evaluate.report.html_tables import BLANK, TIMES
from chirrup.evaluate.report.listening import chosen_clips
from chirrup.evaluate.report.markup import Markup, element
from chirrup.evaluate.results import Results, Row, audio_path
from chirrup.evaluate.statistics import interval
from evaluate.test_report_samples import CODECS, METRICS, ODD, made_up, write_audio

VOID = {"meta", "link", "img", "input"}
SCORED = ("pesq_wb", "estoi", "lsd")


class Node:
    def __init__(self, tag: str, attributes: dict[str, str], parent: "Node | None") -> None:
        self.tag, self.attributes, self.parent = tag, attributes, parent
        self.children: list[Node | str] = []

    @property
    def text(self) -> str:
        return "".join(c if isinstance(c, str) else c.text for c in self.children)

    def all(self, tag: str, class_: str = "") -> list["Node"]:
        """Return all nodes within with a tag and, if given, a class."""
        found = []
        for child in self.children:
            if isinstance(child, Node):
                classes = child.attributes.get("class", "").split()
                if child.tag == tag and (not class_ or class_ in classes):
                    found.append(child)
                found += child.all(tag, class_)
        return found


class Page(HTMLParser):
    """Parser of a page to a tree. It fails if tags are not nested."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.root = self.here = Node("", {}, None)
        self.feed(self.source)
        self.close()
        assert self.here is self.root, f"<{self.here.tag}> is not closed"

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"<{tag}> has an attribute twice: {names}"
        node = Node(tag, {name: value or "" for name, value in attrs}, self.here)
        self.here.children.append(node)
        if tag not in VOID:
            self.here = node

    def handle_endtag(self, tag: str) -> None:
        assert tag == self.here.tag, f"</{tag}> where <{self.here.tag}> is open"
        assert self.here.parent is not None
        self.here = self.here.parent

    def handle_data(self, data: str) -> None:
        self.here.children.append(data)


def report(results: Results, folder: Path, listen: int = 6) -> Node:
    write_report(results, folder, folder / "report.html", METRICS, listen=listen)
    return Page(folder / "report.html").root


def cells(page: Node, table: int = 0) -> dict[tuple[str, str], Node]:
    """Return the cells of a table by system and heading."""
    found = page.all("table")[table]
    heads = [head.text for head in found.all("thead")[0].all("th")]
    return {
        (row.all("th")[0].text.removesuffix(" ours"), head): cell
        for row in found.all("tbody")[0].all("tr")
        for head, cell in zip(heads[1:], row.all("td"), strict=True)
    }


def head(name: str) -> str:
    metric = METRICS[name]
    unit = f", {metric.unit}" if metric.unit else ""
    return f"{metric.label}{unit} {'↑' if metric.better == 'higher' else '↓'}"


def group(results: Results, condition: str) -> dict[str, list[Row]]:
    """Return the rows of a condition by title."""
    found: dict[str, list[Row]] = {}
    for row in results.rows:
        if row.condition == condition:
            found.setdefault(row.title, []).append(row)
    return found


def test_the_page_is_well_formed_and_needs_nothing(tmp_path: Path) -> None:
    results = made_up()
    write_audio(results, tmp_path)
    page = report(results, tmp_path)
    source = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "://" not in source
    ids = re.findall(r' id="([^"]*)"', source)
    assert len(ids) == len(set(ids))
    for node in (*page.all("img"), *page.all("audio"), *page.all("link")):
        assert (node.attributes.get("src") or node.attributes["href"]).startswith("data:")
    for link in page.all("a"):
        assert link.attributes["href"].removeprefix("#") in ids
    for svg in page.all("div", "plots")[0].all("svg"):
        assert set(svg.attributes["aria-labelledby"].split()) <= set(ids)


def test_names_stay_names(tmp_path: Path) -> None:
    results = made_up()
    write_audio(results, tmp_path)
    page = report(results, tmp_path)
    assert len(page.all("script")) == 1
    assert not page.all("b")
    assert not page.all("i")
    assert page.all("title")[0].text == f"Chirrup: iris-t1, {ODD}, Codec2"
    assert f"{ODD} 6k" in [name.text for name in page.all("span", "name")]
    assert any(h3.text.startswith("<b>&\"'0 clean, speaker 声 <0>") for h3 in page.all("h3"))
    made = page.all("section")[-1].text
    assert f"{ODD}: why not" in made
    assert "iris-t10123456789ab" in made
    assert "rate_hznot setmonoyes" in made


def test_text_is_escaped_and_markup_is_not() -> None:
    made = element(
        "p", "<&>", Markup("<br>"), None, ["a", element("i", "b")], title='"<', hidden=True
    )
    assert made == '<p title="&quot;&lt;" hidden>&lt;&amp;&gt;<br>a<i>b</i></p>'
    assert element("img", alt="x", width=None, data_at=0.5) == '<img alt="x" data-at="0.5">'


@pytest.mark.parametrize(("table", "condition"), [(0, "clean"), (1, "noise-15")])
def test_every_number_is_the_statistic(tmp_path: Path, table: int, condition: str) -> None:
    results = made_up()
    found = cells(report(results, tmp_path), table)
    groups = group(results, condition)
    assert len(found) == 6 * (4 + len(SCORED))
    for title, rows in groups.items():
        assert found[title, "kbit/s"].text == f"{np.mean([row.kbps for row in rows]):.2f}"
        assert found[title, "delay removed, ms"].text == "6.5"
        assert found[title, f"encode, {TIMES} real time"].text == "150"
        assert found[title, f"decode, {TIMES} real time"].attributes["title"] == "not measured"
        for name in SCORED:
            values = np.array([row.scores[name] for row in rows], dtype=float)
            expected = interval(values, [row.speaker for row in rows])
            cell, digits = found[title, head(name)], METRICS[name].digits
            if expected is None:
                assert cell.text == BLANK
                assert cell.attributes["title"] == (
                    '4 of 4 clips have no score (no utterance <"&">)'
                )
                continue
            text = "{0:z.{3}f}{1:z.{3}f}\xa0to {2:z.{3}f}".format(*expected, digits)
            blanks = int(np.isnan(values).sum())
            assert cell.text == text + (f"{4 - blanks} of 4 clips" if blanks else "")
            assert float(cell.attributes["data-value"]) == expected.mean


def test_the_columns_are_explained_as_text(tmp_path: Path) -> None:
    page = report(made_up(), tmp_path)
    headings = [button.text for button in page.all("thead")[0].all("button")]
    meanings = page.all("dl", "meanings")[0]
    assert [term.text for term in meanings.all("dt")] == headings
    delay = meanings.all("dd")[headings.index("delay removed, ms")].text
    assert "It contains the filters and the look-ahead" in delay
    assert "It is not the latency of a call" in delay


def test_systems_are_in_order_of_bitrate_and_ours_are_marked(tmp_path: Path) -> None:
    body = report(made_up(), tmp_path).all("table")[0].all("tbody")[0]
    rates = [float(row.all("td")[0].attributes["data-value"]) for row in body.all("tr")]
    assert rates == sorted(rates)
    ours = [row for row in body.all("tr") if row.attributes.get("class") == "ours"]
    assert [row.all("th")[0].text for row in ours] == ["iris-t1 1k ours", "iris-t1 6k ours"]


def test_blanks_are_told(tmp_path: Path) -> None:
    notes = report(made_up(), tmp_path).all("details", "notes")[0].all("li")
    assert [note.text for note in notes] == [
        'PESQ-wb of Codec2 1k: 4 of 4 clips have no score (no utterance <"&">)',
        'PESQ-wb of Codec2 6k: 1 of 4 clips have no score (no utterance <"&">)',
    ]


def test_an_infinite_score_is_not_averaged_and_is_told(tmp_path: Path) -> None:
    results = made_up(CODECS[:1], [1000], ["clean"])
    results.rows[0].scores["lsd"] = math.inf
    page = report(results, tmp_path)
    expected = np.array([row.scores["lsd"] for row in results.rows[1:]], dtype=float).mean()
    assert cells(page)["iris-t1 1k", head("lsd")].text.startswith(f"{expected:.1f}")
    assert "infinite" in page.all("details", "notes")[0].text


def drawn_and_real(figure: Node, results: Results, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return pixels and (log bitrate, value) of markers and ends of bars, each ``[2, n]``."""
    drawn, real = [], []
    points = [point for codec in figure.all("g", "codec") for point in codec.all("g")]
    for point in points:
        rows = group(results, "clean")[point.all("title")[0].text.partition(": ")[0]]
        scores = np.array([row.scores[name] for row in rows], dtype=float)
        found = interval(scores, [row.speaker for row in rows])
        assert found is not None
        x, y = re.findall(r"[\d.]+", point.all("path")[0].attributes["transform"])
        bar = point.all("line")[0].attributes
        for at, value in zip((y, bar["y1"], bar["y2"]), found, strict=True):
            drawn.append((float(x), float(at)))
            real.append((np.log(np.mean([row.kbps for row in rows])), value))
    return np.array(drawn).T, np.array(real).T


@pytest.mark.parametrize("scale", [0.003, 0.37, 1, 2, 4, 90, 12_345])
def test_points_and_ticks_are_where_their_values_are(tmp_path: Path, scale: float) -> None:
    results = made_up(conditions=["clean"])
    for row in results.rows:
        row.scores["lsd"] = scale * (row.scores["lsd"] or 0)
    figure = report(results, tmp_path).all("div", "plots")[0].all("figure")[2]
    drawn, real = drawn_and_real(figure, results, "lsd")
    assert drawn.shape == (2, 3 * 6)
    across, up = (np.polyfit(real[axis], drawn[axis], 1) for axis in (0, 1))
    np.testing.assert_allclose(np.polyval(across, real[0]), drawn[0], atol=0.15)
    np.testing.assert_allclose(np.polyval(up, real[1]), drawn[1], atol=0.15)
    assert across[0] > 0 > up[0]
    assert drawn.min() >= 0
    assert drawn[0].max() <= 440
    assert drawn[1].max() <= 300

    *ticks, unit = figure.all("g", "grid")[0].all("text")
    assert unit.text == "kbit/s"
    below = [tick for tick in ticks if tick.attributes["class"] == "across"]
    left = [tick for tick in ticks if tick.attributes["class"] == "up"]
    assert min(len(below), len(left)) >= 3
    for tick in below:
        at = np.polyval(across, np.log(float(tick.text)))
        assert at == pytest.approx(float(tick.attributes["x"]), abs=0.5)
    for tick in left:
        at = np.polyval(up, float(tick.text))
        assert at == pytest.approx(float(tick.attributes["y"]) - 4, abs=0.5)


def test_lines_join_the_bitrates_of_a_codec(tmp_path: Path) -> None:
    plots = report(made_up(conditions=["clean"]), tmp_path).all("div", "plots")[0]
    pesq = {g.attributes["data-codec"]: g for g in plots.all("figure")[0].all("g", "codec")}
    lines = {codec: len(g.all("polyline")) for codec, g in pesq.items()}
    assert lines == {"iris-t1": 1, "opus": 1, "codec2": 0}  # Codec2 has one bitrate with a score
    assert {codec for codec, g in pesq.items() if "ours" in g.attributes["class"]} == {"iris-t1"}


def test_every_clip_and_system_has_a_player_with_its_samples(tmp_path: Path) -> None:
    results = made_up()
    written = write_audio(results, tmp_path)
    page = report(results, tmp_path, listen=4)
    clips = page.all("section", "clip")
    assert len(clips) == 4
    titles = {row.title: row.system for row in results.rows}
    for section, (condition, clip) in zip(clips, chosen_clips(results, tmp_path, 4), strict=True):
        names = [player.all("span", "name")[0].text for player in section.all("figure", "player")]
        assert names[0] == "Reference"
        assert set(names[1:]) == set(titles)
        for player, name in zip(section.all("figure", "player"), names, strict=True):
            _, _, encoded = player.all("audio")[0].attributes["src"].partition("flac;base64,")
            samples, _ = soundfile.read(io.BytesIO(base64.b64decode(encoded)), dtype="int16")
            path = audio_path(tmp_path, condition, clip, titles.get(name, "reference"))
            np.testing.assert_array_equal(samples, written[path])
            assert player.all("img")[0].attributes["src"].startswith("data:image/png;base64,")


def test_a_player_has_the_scores_of_its_clip(tmp_path: Path) -> None:
    results = made_up(conditions=["clean"])
    write_audio(results, tmp_path)
    page = report(results, tmp_path, listen=1)
    shown = {
        player.all("span", "name")[0].text: player.all("dd")
        for player in page.all("figure", "player")
    }
    assert shown.pop("Reference") == []
    for row in (row for row in results.rows if row.clip == results.rows[0].clip):
        pesq, estoi, lsd = shown[row.title]
        value = row.scores["pesq_wb"]
        assert pesq.text == (BLANK if value is None else f"{value:.2f}")
        assert pesq.attributes.get("title") == row.blank.get("pesq_wb")
        assert estoi.text == f"{row.scores['estoi']:.3f}"
        assert lsd.text == f"{row.scores['lsd']:z.1f} dB"


def test_without_audio_the_players_are_left_out_and_it_says_so(tmp_path: Path) -> None:
    page = report(made_up(), tmp_path)
    assert not page.all("audio")
    assert "No audio was kept" in page.all("section")[-2].text


def test_a_system_without_audio_says_so(tmp_path: Path) -> None:
    results = made_up(conditions=["clean"])
    write_audio(results, tmp_path)
    for path in tmp_path.rglob("codec2-1000.flac"):
        path.unlink()
    page = report(results, tmp_path, listen=2)
    assert len(page.all("audio")) == 2 * 6
    empty = [p for p in page.all("figure", "player") if "No audio was kept" in p.text]
    assert [p.all("span", "name")[0].text for p in empty] == ["Codec2 1k"] * 2


def test_every_part_of_a_condition_is_explained(tmp_path: Path) -> None:
    results = made_up(CODECS[:1], [1000], ["noise-15+loss-10", "jitter-40", "clean"], clips=1)
    titles = [title.text for title in report(results, tmp_path).all("h2")[:3]]
    assert titles == [
        "noise-15+loss-10 noise added, 15 dB below the speech; 10 % of the packets lost",
        "jitter-40 ",
        "clean unchanged clips",
    ]


def test_one_system_of_one_clip(tmp_path: Path) -> None:
    results = made_up(CODECS[:1], [1000], ["clean"], clips=1)
    write_audio(results, tmp_path)
    page = report(results, tmp_path)
    assert len(page.all("audio")) == 2
    assert len(page.all("g", "codec")) == 1 + len(SCORED)  # the legend's, and each plot's
    assert cells(page)["iris-t1 1k", "kbit/s"].text == f"{results.rows[0].kbps:.2f}"


def test_a_metric_without_any_score_has_no_plot(tmp_path: Path) -> None:
    results = made_up(CODECS[2:], [1000], ["clean"])
    first = report(results, tmp_path).all("div", "plots")[0].all("figure")[0]
    assert first.text == f"{head('pesq_wb')}No system has a score."


def test_clips_are_spread_over_conditions_and_speakers(tmp_path: Path) -> None:
    results = made_up(CODECS[:1], [1000], clips=5)
    results.rows.sort(key=lambda row: row.clip, reverse=True)
    results.rows.sort(key=lambda row: row.condition)
    write_audio(results, tmp_path)
    names = sorted({row.clip for row in results.rows})
    assert chosen_clips(results, tmp_path, 0) == []
    assert chosen_clips(results, tmp_path, 1) == [("clean", names[0])]
    assert chosen_clips(results, tmp_path, 5) == [
        *(("clean", names[index]) for index in (0, 2, 4)),
        *(("noise-15", names[index]) for index in (0, 4)),
    ]
    assert len(chosen_clips(results, tmp_path, 99)) == 10


def test_only_the_metrics_of_the_call_are_shown(tmp_path: Path) -> None:
    results = made_up()
    write_report(results, tmp_path, tmp_path / "r.html", {"lsd": METRICS["lsd"]})
    page = Page(tmp_path / "r.html").root
    assert {name for _, name in cells(page)} & {head(name) for name in METRICS} == {head("lsd")}
    assert "scored, not shown hereestoi, pesq_wb" in page.all("section")[-1].text


def test_no_rows_make_no_report(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="have no row"):
        write_report(
            dataclasses.replace(made_up(), rows=[]), tmp_path, tmp_path / "r.html", METRICS
        )
    assert not list(tmp_path.iterdir())
