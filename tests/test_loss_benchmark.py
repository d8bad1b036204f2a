"""The parts of benchmarks/loss.py: links, conditions, tables and plots."""

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import chirrup
from benchmark_scripts import scripts  # noqa: F401
from chirrup.codes import ABSENT
from chirrup.evaluate.conditions import parse
from chirrup.evaluate.peers import PeerError
from chirrup.evaluate.results import RESULTS, Results
from chirrup.evaluate.statistics import Interval
from chirrup.live.network import NetworkConditions


@pytest.fixture
def links() -> Any:
    return import_module("links")


@pytest.fixture(scope="module")
def audio() -> np.ndarray:
    """Half a second of a voice-like tone at 24 kHz, ``float32 [samples]``."""
    time_s = np.arange(12_000) / 24_000
    voice = sum(np.sin(2 * np.pi * 150 * k * time_s) / k for k in range(1, 15))
    return (0.05 * np.sin(2 * np.pi * 3 * time_s) * voice).astype(np.float32)


def test_a_models_packets_decode_from_what_the_next_packet_repeats(
    links: Any, audio: np.ndarray
) -> None:
    codec = chirrup.load("iris-t1")
    link = links.ModelLink(codec, "model", 3000, 2)
    packets = link.encode(audio, 0.0)
    assert link.bits(packets) == 60 * len(packets)
    codes = codec.encode(audio, 2000)
    lost = [5, 10, 11]
    codes.data[2:, [5, 11]] = ABSENT  # two codebooks remain
    codes.data[:, 10] = ABSENT
    decoded = link.decode([None if n in lost else packet for n, packet in enumerate(packets)])
    delay = link.delay_samples
    np.testing.assert_allclose(decoded[delay:][: len(audio)], codec.decode(codes), atol=1e-4)
    with pytest.raises(ValueError, match="fewer than 4 codebooks"):
        links.ModelLink(codec, "model", 3000, 4)


def test_bare_frames_decode_and_have_no_header(links: Any, audio: np.ndarray) -> None:
    codec = chirrup.load("iris-t1")
    link = links.BareLink(codec, "model", 3000)
    frames = link.encode(audio, 0.0)
    assert {len(frame) for frame in frames} == {8}
    decoded = link.decode(frames)[link.delay_samples :][: len(audio)]
    np.testing.assert_allclose(decoded, codec.decode(codec.encode(audio, 3000)), atol=1e-4)


def opus(links: Any, *arguments: int) -> Any:
    try:
        return links.OpusLink(*arguments)
    except PeerError as lack:
        pytest.skip(str(lack))


def test_opus_decodes_a_lost_packet_from_the_next_one(links: Any, audio: np.ndarray) -> None:
    """At 24 kbit/s and 20 % loss all voiced packets have copies; at 6 kbit/s none has one."""
    link = opus(links, 24_000)
    signal = np.repeat(audio, 2)
    packets = link.encode(signal, 0.2)
    assert sum(map(links.has_copies, packets)) > len(packets) / 2
    low = opus(links, 6000)
    assert not any(map(links.has_copies, low.encode(signal, 0.2)))

    whole = link.decode(packets)
    assert len(whole) == 960 * len(packets)

    def error(fec: bool) -> float:
        link.fec = fec
        decoded = link.decode([*packets[:12], None, *packets[13:]])[12 * 960 : 13 * 960]
        return float(np.square(decoded - whole[12 * 960 : 13 * 960]).sum())

    assert error(fec=True) < 0.5 * error(fec=False)


def test_codec2_repeats_a_lost_frame_and_fades(links: Any, audio: np.ndarray) -> None:
    try:
        link = links.Codec2Link(3200)
    except PeerError as lack:
        pytest.skip(str(lack))
    packets = link.encode(audio[::3], 0.0)
    assert {len(packet) for packet in packets} == {8}
    repeated = [*packets[:10], packets[9], *packets[11:]]
    gap = [*packets[:10], None, *packets[11:]]
    np.testing.assert_array_equal(link.decode(gap), link.decode(repeated))
    faded = link.decode([*packets[:5], *[None] * 16, packets[-1]])
    assert np.abs(faded[5 * 160 : 10 * 160]).max() > 0.01
    assert not faded[20 * 160 : 21 * 160].any()


def test_the_network_loses_the_same_packets_of_every_codec(
    links: Any, audio: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    loss, codec, arrived = import_module("loss"), chirrup.load("iris-t1"), []
    for copies in (0, 1):
        link = links.ModelLink(codec, "model", 3000, copies)
        monkeypatch.setattr(link, "decode", lambda packets: arrived.append(packets) or packets)
        loss.through(link, audio, parse("loss:30%").network, seed=1)
    lost = [[packet is None for packet in packets] for packets in arrived]
    assert lost[0] == lost[1]
    assert 0 < sum(lost[0]) < len(lost[0])
    assert loss.lost_share(parse("bursts:10%,3").network) == pytest.approx(0.1)
    assert loss.lost_share(NetworkConditions()) == 0


def test_splits_are_of_the_same_total() -> None:
    loss, codec = import_module("loss"), chirrup.load("iris-t1")
    assert loss.splits(codec, (1000, 9000), (0, 1, 2, 6)) == [(1000, 0), (1000, 1), (9000, 6)]


def test_scores_tables_and_plots(
    audio: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    loss = import_module("loss")
    clip, out = tmp_path / "speaker__0.wav", tmp_path / "out"
    soundfile.write(clip, audio[:-2], 24_000)  # no whole number of samples at 8 kHz
    command = ["loss.py", "iris-t1", "--clips", str(clip), "-m", "snr", "--out", str(out)]
    command += ["--losses", "clean", "loss:10%", "--errors", "--totals", "3000", "--copies", "0"]
    monkeypatch.setattr(sys, "argv", [*command, "--plots", str(tmp_path / "plots")])
    loss.main()
    rows = Results.read(out / RESULTS).rows
    ours = {row.condition: row.scores["snr"] or 0 for row in rows if row.ours}
    assert set(ours) == {"clean", "loss-10"}
    assert ours["clean"] > ours["loss-10"]
    assert [path.name for path in (tmp_path / "plots").iterdir()] == ["against-loss.png"]
    assert "Change from no loss" in capsys.readouterr().out

    monkeypatch.setattr(loss, "measure", None)  # nothing is measured again
    loss.main()
    assert len(Results.read(out / RESULTS).rows) == len(rows)


def test_a_system_looks_the_same_in_the_plots_of_all_metrics() -> None:
    from matplotlib import pyplot

    plots, value = import_module("loss_plots"), Interval(2.0, 1.0, 3.0)
    styles = plots._styles({"a", "b", "other"}, {"a", "b"})
    figure, axes = pyplot.subplots(1, 2)
    for axis, titles in zip(axes, (("a", "b", "other"), ("b",)), strict=True):
        plots._curves(axis, {title: {0.0: value, 10.0: value} for title in titles}, styles)
    colours = [{line.get_label(): line[0].get_color() for line in axis.containers} for axis in axes]
    pyplot.close(figure)
    assert len(set(colours[0].values())) == 3
    assert colours[1]["b"] == colours[0]["b"]
