"""The models of descriptions, loaded in another thread, so that the reception goes on."""

import threading
from collections.abc import Callable

from chirrup.codec import Codec
from chirrup.live.description import Description
from chirrup.live.receiver import Found, Loading, is_of
from chirrup.model_folders import with_weights
from chirrup.zoo import load


class Models:
    """The installed models, loaded when a stream describes them, with their weights.

    Args:
        given: the only model to use; None is all installed models.
        own: a model that is loaded, such as the one that this end sends with.
        note: prints a warning. It is called in the thread that calls `find`.
    """

    def __init__(
        self, given: Codec | None, note: Callable[[str], None], own: Codec | None = None
    ) -> None:
        for codec in (given, own):
            if codec is not None:
                codec.decoder()
        self._given, self._own, self._note = given, own, note
        self._loaded: dict[str, Codec | Exception] = {}
        self._started: set[str] = set()
        self._noted: set[str] = set()

    def find(self, description: Description) -> Found:
        """Return the model of a description, as `Receiver` asks for it."""
        codec = self._given or self._installed(description)
        if isinstance(codec, Loading) or (isinstance(codec, Codec) and is_of(description, codec)):
            return codec
        reason = f": {codec}" if isinstance(codec, Exception) else ""
        text = (
            f"warning: a stream of the model {description.model} with the weights "
            f"{description.weights[:8]} is ignored{reason}: install the model, or give its folder "
            "(--model)"
        )
        if text not in self._noted and len(self._noted) < 100:
            self._noted.add(text)
            self._note(text)
        return None

    def _installed(self, description: Description) -> Codec | Exception | Loading | None:
        if self._own is not None and is_of(description, self._own):
            return self._own
        name = with_weights(description.model, description.weights)
        if name is None:
            return None
        if name not in self._started:
            self._started.add(name)
            threading.Thread(target=self._load, args=(name,), daemon=True).start()
        return self._loaded.get(name, Loading())

    def _load(self, name: str) -> None:
        try:
            codec = load(name)
            codec.decoder()  # the first one reads the weights, which would stop the reception
            self._loaded[name] = codec
        except Exception as error:  # otherwise the receiver would wait for ever
            self._loaded[name] = error
