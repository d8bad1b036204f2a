"""Models that are loaded while a receiver goes on."""

import threading

import pytest

import chirrup
from chirrup.calls import models
from chirrup.calls.models import Models
from chirrup.errors import ModelError
from chirrup.live.description import Description
from chirrup.live.receiver import Loading


def found(source: Models, description: Description) -> object:
    """Wait for the thread that loads."""
    while isinstance(codec := source.find(description), Loading):
        threading.Event().wait(0.01)
    return codec


def test_loading_does_not_block(monkeypatch: pytest.MonkeyPatch) -> None:
    ready = threading.Event()

    def load(name: str) -> chirrup.Codec:
        ready.wait()
        return chirrup.load(name)

    monkeypatch.setattr(models, "load", load)
    codec = chirrup.load("iris-t1")
    description = Description.of(codec.spec, 12, 1, 1)
    notes: list[str] = []
    source = Models(None, notes.append)
    assert isinstance(source.find(description), Loading)
    assert isinstance(source.find(description), Loading)
    ready.set()
    assert getattr(found(source, description), "name", None) == "iris-t1"
    assert notes == []


@pytest.mark.parametrize("given", [False, True])
def test_a_model_is_found_with_its_weights(monkeypatch: pytest.MonkeyPatch, given: bool) -> None:
    """The first decoder of a stream is made by the thread that receives."""
    codec = chirrup.load("iris-t1")
    opened: list[str] = []
    monkeypatch.setattr(models, "load", lambda name: codec)
    monkeypatch.setattr(codec, "decoder", lambda: opened.append(codec.name))
    source = Models(codec if given else None, lambda text: None)
    assert found(source, Description.of(codec.spec, 12, 1, 1)) is codec
    assert opened == ["iris-t1"]


def test_the_model_that_this_end_sends_with_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """It need not be installed."""
    monkeypatch.setattr(models, "with_weights", lambda *_: None)
    codec, notes = chirrup.load("iris-t1"), []
    description = Description.of(codec.spec, 12, 1, 1)
    assert found(Models(None, notes.append), description) is None
    assert found(Models(None, notes.append, codec), description) is codec
    assert len(notes) == 1


def test_a_model_that_cannot_be_used_is_noted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str) -> chirrup.Codec:
        raise ModelError("its weights are damaged")

    monkeypatch.setattr(models, "load", load)
    codec = chirrup.load("iris-t1")
    notes: list[str] = []
    for given, name, words in (
        (None, "nobody-t9", "the model nobody-t9"),
        (None, "iris-t1", "its weights are damaged"),
        (codec, "iris-t2", "give its folder"),
    ):
        description = Description.of(codec.spec, 12, 1, 1)
        description = Description(**{**vars(description), "model": name})
        source = Models(given, notes.append)
        assert [found(source, description) for _ in range(3)] == [None] * 3
        assert words in notes[-1]
    assert len(notes) == 3
