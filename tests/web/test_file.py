"""`.chirrup` files of the page's module, in Node, against `chirrup.bitstream`."""

import io
import json
import subprocess
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from bitstream_samples import make_codes, make_file, make_header
from chirrup.bitstream import Header, Reader

SHAPES = [  # channels, codebooks, bits, frames, whether codes are absent
    *[(1, 12, 10, 500, False), (1, 1, 16, 300, False), (2, 6, 10, 250, False)],
    *[(3, 20, 9, 400, True), (2, 128, 16, 50, True), (1, 1, 1, 5, True), (1, 2, 10, 0, False)],
    (1, 2, 10, 2100, True),  # with an index
]


def samples() -> list[tuple[Header, np.ndarray]]:
    found = []
    for seed, (channels, codebooks, bits, frames, absent) in enumerate(SHAPES):
        header = make_header(channels, codebooks, bits, {"title": "Grüße", "": "x" * seed})
        header = replace(header, sample_count=None if seed % 2 else 1000 * seed)
        found.append((header, make_codes(header, frames, seed, absent)))
    mid = make_header(2, 2, 10, mode="mid-side")
    return [*found, (mid, make_codes(mid, 40))]


def names(header: Header) -> dict[str, Any]:
    """Return the header with the names of JavaScript."""

    def camel(name: str) -> str:
        first, *rest = name.split("_")
        return first + "".join(word.capitalize() for word in rest)

    return {camel(name): value for name, value in asdict(header).items()}


def frame_major(codes: np.ndarray) -> list[list[int]]:
    return [stream.T.ravel().tolist() for stream in codes]


def asked(modules: Path, tmp_path: Path, job: list[dict[str, Any]]) -> list[dict[str, Any]]:
    path = tmp_path / "job.json"
    path.write_text(json.dumps(job))
    command = ["node", str(Path(__file__).with_name("files.mjs")), str(modules), str(path)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def test_written_files_equal_those_of_python(modules: Path, tmp_path: Path) -> None:
    job = [
        {
            "write": str(tmp_path / f"{number}.chirrup"),
            "header": names(header),
            "codes": frame_major(codes),
        }
        for number, (header, codes) in enumerate(samples())
    ]
    asked(modules, tmp_path, job)
    for number, (header, codes) in enumerate(samples()):
        written = (tmp_path / f"{number}.chirrup").read_bytes()
        assert written == make_file(header, codes), SHAPES[number : number + 1]


def test_files_sound_and_damaged_are_read_as_in_python(modules: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    files = [make_file(*sample) for sample in samples()]
    for data in list(files):
        for _ in range(4):
            damaged = bytearray(data)
            for place in rng.integers(80, len(data), 2):
                damaged[place] ^= int(rng.integers(1, 256))
            cut = int(rng.integers(90, len(data)))
            files += [bytes(damaged), data[:cut], data[:cut] + data[cut + 3 :], data + b"\xa7\xc1"]
    for number, data in enumerate(files):
        (tmp_path / f"{number}.chirrup").write_bytes(data)
    job = [{"read": str(tmp_path / f"{number}.chirrup")} for number in range(len(files))]
    for data, answer in zip(files, asked(modules, tmp_path, job), strict=True):
        try:
            reader = Reader(io.BytesIO(data))
        except ValueError:
            assert "error" in answer
            continue
        header = reader.header
        empty = np.empty((header.channels, header.codebooks, 0), int)
        codes = np.concatenate([empty, *(codes for _, codes in reader.chunks())], axis=2)
        assert answer["header"] == names(header)
        assert answer["codes"] == frame_major(codes)
        assert answer["samples"] == reader.sample_count
        damage = [note for note in reader.damage if not note.startswith("the footer")]
        assert answer["damage"] == damage


def test_a_wrong_header_is_an_error_that_states_what_is_wrong(
    modules: Path, tmp_path: Path
) -> None:
    data = make_file(*samples()[0])
    wrong = {
        b"": "too short",
        b"RIFF" + data[4:]: "not a .chirrup file",
        data[:8] + b"\x02" + data[9:]: "Format version 2 is not supported",
        data[:40]: "ends inside its header",
        data[:40] + b"\xff" + data[41:]: "its CRC-32 is wrong",
    }
    for number, content in enumerate(wrong):
        (tmp_path / f"{number}.chirrup").write_bytes(content)
    job = [{"read": str(tmp_path / f"{number}.chirrup")} for number in range(len(wrong))]
    for answer, expected in zip(asked(modules, tmp_path, job), wrong.values(), strict=True):
        assert expected in answer["error"]
