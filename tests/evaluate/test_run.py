"""The run: delays, rows, units that are not computed again, and the tables."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from chirrup.evaluate import tables
from chirrup.evaluate.clips import audio_files, check_names, read_clip
from chirrup.evaluate.conditions import parse
from chirrup.evaluate.earlier import lacking, merged
from chirrup.evaluate.metrics import METRICS, recognition
from chirrup.evaluate.peers import PeerError, find
from chirrup.evaluate.results import RESULTS, Results, Row, audio_path
from chirrup.evaluate.run import Job, Settings, System, Unit, evaluate, score_clip
from chirrup.files import FileError
from chirrup.live.network import parse_network
from closed_folders import close_folders

RATE_HZ = 16_000
COARSE, STATED = "own_codec:Coarse", "own_codec:Stated"


@pytest.fixture
def clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three clips of two speakers. The current folder has a log of the coded clips."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "coded.log").touch()
    folder = tmp_path / "clips"
    folder.mkdir()
    for index, name in enumerate(("ann__0", "ann__1", "bob__0")):
        random = np.random.default_rng(index)
        syllables = np.abs(np.sin(np.arange(RATE_HZ) * (3 + index) / RATE_HZ * 2 * np.pi))
        audio = 0.1 * syllables * random.standard_normal(RATE_HZ)
        soundfile.write(folder / f"{name}.wav", audio, RATE_HZ)
    return folder


def settings(
    clips: Path, conditions: Sequence[str] = ("clean",), names: Sequence[str] = ("snr",)
) -> Settings:
    return Settings(
        clips=audio_files(clips),
        systems=(System(COARSE, 64_000), System(COARSE, 128_000)),
        conditions=tuple(map(parse, conditions)),
        metrics=tuple(names),
        workers=1,
    )


def coded() -> int:
    return len(Path("coded.log").read_text().split())


def test_rows_have_the_delay_removed_and_the_right_scores(clips: Path, tmp_path: Path) -> None:
    results = evaluate(settings(clips), tmp_path / "out")
    assert [row.clip for row in results.rows] == ["ann__0", "ann__1", "bob__0"] * 2
    assert {row.speaker for row in results.rows} == {"ann", "bob"}
    for row in results.rows:
        assert row.delay_ms == pytest.approx(1000 * 100 / RATE_HZ)
        assert row.kbps == pytest.approx(row.bitrate_bps / 1000)
        reference, _ = soundfile.read(audio_path(tmp_path / "out", "clean", row.clip, "reference"))
        decoded, _ = soundfile.read(audio_path(tmp_path / "out", "clean", row.clip, row.system))
        if row.bitrate_bps == 128_000:  # 8 bits: an error of 1/128, evenly spread
            level = np.square(reference).mean()
            assert row.scores["snr"] == pytest.approx(10 * np.log10(level * 12 * 128**2), abs=0.5)
        snr = 10 * np.log10(np.square(reference).sum() / np.square(reference - decoded).sum())
        assert snr == pytest.approx(row.scores["snr"], abs=0.1)
    again = Results.read(tmp_path / "out" / RESULTS)
    assert again.rows == results.rows
    assert again.run["speakers"] == 2


def test_what_is_done_is_not_done_again(clips: Path, tmp_path: Path) -> None:
    first = evaluate(settings(clips), tmp_path / "out")
    assert coded() == 6
    assert evaluate(settings(clips), tmp_path / "out").rows == first.rows
    assert coded() == 6
    more = evaluate(settings(clips, ["clean", "noise:10"]), tmp_path / "out")
    assert coded() == 12
    assert len(more.rows) == 12
    evaluate(settings(clips, names=["snr", "si_sdr"]), tmp_path / "out")
    assert coded() == 18  # a new metric needs the audio again
    assert len(Results.read(tmp_path / "out" / RESULTS).rows) == 12


def test_scores_and_blanks_stay_when_a_metric_is_added(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CHIRRUP_UTMOS", raising=False)
    spoken = replace(METRICS["si_sdr"], languages=lambda: ["hu"])
    monkeypatch.setitem(METRICS, "si_sdr", spoken)
    languages = dict.fromkeys(audio_files(clips), "hu")
    asked = replace(settings(clips, names=["snr", "utmos"]), languages=languages)
    first = evaluate(asked, tmp_path / "out")
    second = evaluate(replace(asked, metrics=("si_sdr",)), tmp_path / "out")
    for old, new in zip(first.rows, second.rows, strict=True):
        assert set(new.scores) == {"snr", "utmos", "si_sdr"}
        assert old.scores.items() <= new.scores.items()
        assert "utmos" in old.blank
        assert old.blank == new.blank
    assert evaluate(asked, tmp_path / "out").rows == second.rows
    assert coded() == 12
    soundfile.write(clips / "bob__0.wav", np.full(RATE_HZ, 0.1), RATE_HZ)
    assert set(evaluate(asked, tmp_path / "out").rows[2].scores) == {"snr", "utmos"}


@pytest.mark.parametrize(
    ("reason", "language", "missing", "expected"),
    [
        ("x is not installed; pip install x", "hu", None, ("snr",)),
        ("x is not installed; pip install x", "hu", "x is not installed", None),
        ("x is not installed; pip install x", "de", None, None),
        ("the recogniser supports hu, but the clip is in de", "de", None, None),
        ("no answer for this clip", "hu", None, None),
    ],
)
def test_a_blank_is_computed_again_when_the_metric_can_run(
    monkeypatch: pytest.MonkeyPatch,
    reason: str,
    language: str,
    missing: str | None,
    expected: tuple[str, ...] | None,
) -> None:
    monkeypatch.setitem(METRICS, "snr", replace(METRICS["snr"], languages=lambda: ["hu"]))
    values = json.loads(row(scores={"snr": None, "lsd": 1.0}, blank={"snr": reason}, source="b"))
    del values["kind"]
    found = lacking(Row(**values), "a", "b", ("snr", "lsd"), language, lambda name: missing)
    assert found == expected
    again = merged(Row(**values), replace(Row(**values), scores={"snr": 9.0}, blank={}))
    assert (again.scores, again.blank) == ({"snr": 9.0, "lsd": 1.0}, {})


def test_other_audio_of_the_same_name_is_done_again(clips: Path, tmp_path: Path) -> None:
    evaluate(settings(clips), tmp_path / "out")
    before = coded()
    evaluate(replace(settings(clips), rate_hz=8000), tmp_path / "out")
    assert coded() == 2 * before
    soundfile.write(clips / "bob__0.wav", np.zeros(RATE_HZ), RATE_HZ)
    evaluate(replace(settings(clips), rate_hz=8000), tmp_path / "out")
    assert coded() == 3 * before


def test_another_recording_of_the_same_name_is_used(clips: Path, tmp_path: Path) -> None:
    noise = tmp_path / "noise.wav"
    soundfile.write(noise, np.random.default_rng(0).standard_normal(RATE_HZ) / 9, RATE_HZ)
    asked = replace(settings(clips, ["noise:10"]), noises=(noise,))
    asked = replace(asked, systems=asked.systems[:1])
    evaluate(asked, tmp_path / "out")
    before = coded()
    soundfile.write(noise, np.random.default_rng(1).standard_normal(RATE_HZ) / 9, RATE_HZ)
    evaluate(asked, tmp_path / "out")
    assert coded() == 2 * before


@pytest.mark.parametrize("language", ["hu", "en", None])
def test_a_word_error_rate_needs_the_language_of_the_clip(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, language: str | None
) -> None:
    """It is blank for other languages, in which every codec would have 60 to 100 %."""
    silent = SimpleNamespace(supported_languages=["en"], transcribe=lambda *_, **__: ([], None))
    monkeypatch.setattr(recognition, "load_recogniser", lambda: silent)
    clip = clips / "ann__0.wav"
    languages = {clip: language} if language else {}
    asked = replace(settings(clips, names=["wer", "snr"]), languages=languages)
    job = Job(Unit(asked.systems[0], parse("clean")), asked, clip, tmp_path / "draft.npy")
    audio, _ = read_clip(clip)
    np.save(job.draft, audio)
    _, scores, blank = score_clip(job, 0, tmp_path / "out")
    assert scores == {"wer": None, "snr": np.inf}
    known = "no answer for this clip"
    assert blank["wer"] == (
        "the recogniser supports en, but the clip is in hu" if language == "hu" else known
    )


def test_rows_are_compared_at_alike_bitrates(clips: Path, tmp_path: Path) -> None:
    rows = evaluate(settings(clips), tmp_path / "out").rows
    ours = [replace(row, ours=True, codec="x", label="x") for row in rows]

    def at(factor: float) -> list[str]:
        mine = [replace(row, bits=round(factor * row.bits)) for row in ours]
        scored = [replace(row, scores={"snr": float(index)}) for index, row in enumerate(rows[:3])]
        return tables.differences([*mine[:3], *scored], METRICS["snr"])

    assert len(at(1.4)) == 1
    assert "x 64k (89.6 kbit/s) less Coarse 64k (64 kbit/s): " in at(1.4)[0]
    assert at(1.6) == at(0.6) == []


def test_nothing_left_to_do_is_an_error(clips: Path, tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"nothing is left to evaluate: .* only models are"):
        evaluate(settings(clips, ["loss:10"]), tmp_path / "out")


@pytest.mark.parametrize(
    ("audio", "words"),
    [
        (np.full(100, np.nan), "ann__0.wav has samples that are not finite"),
        (np.zeros((100, 9)), "ann__0.wav has 9 channels, more than 8: mix them"),
    ],
)
def test_clips_that_cannot_be_used_are_named(
    clips: Path, tmp_path: Path, audio: np.ndarray, words: str
) -> None:
    soundfile.write(clips / "ann__0.wav", audio, RATE_HZ, subtype="FLOAT")
    with pytest.raises(FileError, match=words):
        evaluate(settings(clips), tmp_path / "out")


def test_a_process_that_is_killed_is_an_error(clips: Path, tmp_path: Path) -> None:
    asked = replace(settings(clips), systems=(System("own_codec:Crashing", 64_000),))
    with pytest.raises(FileError, match="Crashing 64 kbit/s, clean: a process was killed, because"):
        evaluate(asked, tmp_path / "out")


def test_any_codec_may_state_its_delay_and_version_and_accept_a_network(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = replace(settings(clips, ["clean", "loss:30"]), systems=(System(STATED, 64_000),))
    results = evaluate(asked, tmp_path / "out")
    assert results.run["left_out"] == []
    assert {(row.delay_ms, row.version, row.ours) for row in results.rows} == {(5.0, "2", False)}
    for row in results.rows:
        assert (row.scores["snr"] == 0) == (row.condition == "loss-30")
    before = coded()
    monkeypatch.setattr(type(find(STATED)), "version", "3")
    evaluate(asked, tmp_path / "out")
    assert coded() == before + 3
    with pytest.raises(PeerError, match="Coarse cannot be evaluated over a network"):
        find(COARSE).with_network(parse_network("loss:10%"), "seed")


def test_losses_are_for_models_only(clips: Path, tmp_path: Path, model_folder: Path) -> None:
    del model_folder
    asked = settings(clips, ["clean", "loss:30"])
    asked = Settings(
        asked.clips, (System("iris-t1", 6000), System(COARSE, 64_000)), asked.conditions, ("snr",)
    )
    results = evaluate(asked, tmp_path / "out")
    assert len(results.rows) == 9
    assert results.run["left_out"] == [
        f"{COARSE} under loss-30: only models are evaluated over a network"
    ]
    ours = {
        name: [r.scores["snr"] for r in results.rows if r.ours and r.condition == name]
        for name in ("clean", "loss-30")
    }
    assert ours["clean"] != ours["loss-30"]
    assert all(row.version for row in results.rows if row.ours)


def test_tables_say_what_the_rows_say(clips: Path, tmp_path: Path) -> None:
    rows = evaluate(settings(clips), tmp_path / "out").rows
    found = tables.lines(rows, ["snr"])
    assert [line.title for line in found] == ["Coarse 64k", "Coarse 128k"]
    mean = np.mean([row.scores["snr"] or 0 for row in rows[:3]])
    value = found[0].cells["snr"]
    assert value is not None
    assert value.mean == pytest.approx(mean)
    text = tables.markdown(rows, {"snr": METRICS["snr"]})
    assert f"| Coarse 64k | 64.00 | {mean:.1f} (" in text
    short = tables.markdown(rows, {"snr": METRICS["snr"]}, intervals=False)
    assert f"| Coarse 64k | 64.00 | {mean:.1f} |" in short
    assert tables.differences(rows, METRICS["snr"]) == []


def row(**changes: object) -> str:
    """Return a line of results."""
    texts = dict.fromkeys(("codec", "label", "version", "condition", "clip", "speaker"), "a")
    numbers = dict.fromkeys(("seconds", "encode_seconds", "decode_seconds", "delay_ms"), 1.0)
    whole = {"kind": "clip", "ours": False, "bitrate_bps": 1, "bits": 1, **texts, **numbers}
    return json.dumps(whole | changes) + "\n"


def test_a_line_of_results_is_read(tmp_path: Path) -> None:
    """The control of the lines that are refused."""
    (tmp_path / RESULTS).write_text(row())
    assert len(Results.read(tmp_path / RESULTS).rows) == 1


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("no json\n", r"line 1, cannot be read as results"),
        ("[" * 9999 + "\n", "line 1, cannot be read as results: RecursionError"),
        ('{"kind": "clip"}\n', "line 1"),
        (row(seconds="7"), "line 1, .*seconds is '7'"),
        (row(seconds=0), "line 1, .*seconds is 0"),
        (row(bits=None), "line 1, .*bits is None"),
        (row(scores=[]), r"line 1, .*scores is \[\]"),
        (row(scores={"snr": "loud"}), "line 1, .*scores is .*loud"),
    ],
)
def test_results_of_something_else_are_kept(
    clips: Path, tmp_path: Path, content: str, words: str
) -> None:
    path = tmp_path / "out" / RESULTS
    path.parent.mkdir()
    path.write_text(content)
    with pytest.raises(FileError, match=words):
        evaluate(settings(clips), tmp_path / "out")
    assert path.read_text() == content


def test_a_folder_that_cannot_be_read_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.wav", "closed/b.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    close_folders(monkeypatch)
    with pytest.raises(FileError, match="closed cannot be read: Permission denied"):
        audio_files(tmp_path)


def test_clips_have_any_format_that_soundfile_reads(tmp_path: Path) -> None:
    names = ["a.aif", "b.au", "c.caf", "d.W64", "e.wave"]
    for name in names:
        form = "WAV" if name == "e.wave" else "AIFF" if name == "a.aif" else None
        soundfile.write(tmp_path / name, np.full(100, 0.5), RATE_HZ, format=form)
    (tmp_path / "f.raw").write_bytes(bytes(100))
    files = audio_files(tmp_path)
    assert [path.name for path in files] == names
    assert all(read_clip(path)[0].max() == 0.5 for path in files)


def test_folders_without_clips_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="is not a folder"):
        audio_files(tmp_path / "none")
    with pytest.raises(FileError, match="has no audio files"):
        audio_files(tmp_path)
    for name in ("a.wav", "a.flac", "out/b.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert len(audio_files(tmp_path)) == 3
    files = audio_files(tmp_path, but=tmp_path / "out")
    assert [path.name for path in files] == ["a.flac", "a.wav"]
    with pytest.raises(FileError, match="two clips named a"):
        check_names(files)
