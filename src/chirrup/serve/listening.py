"""The blind listening tests of ``chirrup serve``: their files, and the ratings of listeners."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from chirrup.errors import FileError, UsageError
from chirrup.evaluate.listening_tests.design import AUDIO, PAGE, TEST
from chirrup.evaluate.listening_tests.ratings import Key, check, match, read_key
from chirrup.parsing import parsing
from chirrup.serve.ratings import Ratings

ROUTE: Final = "ratings"
FOLDER: Final = "tests"
_NAME = re.compile(r"[\w.-]+", re.ASCII)


class ListeningTests:
    """Listening tests, and the store of their ratings.

    Args:
        folders: folders that ``chirrup blind-test`` wrote.
        store: SQLite file of the ratings, which is made if there is none.

    Raises:
        UsageError: two folders have the same name, or a name is not usable in an address.
        FileError: a folder has no test, or the store cannot be opened.
    """

    def __init__(self, folders: Sequence[Path], store: Path) -> None:
        self.keys: dict[str, Key] = {}
        self.files: dict[str, Path | bytes] = {}
        self.pages: list[str] = []
        """Paths of the tests' pages."""
        for folder in folders:
            self._add(folder)
        self.ratings = Ratings(store)

    def _add(self, folder: Path) -> None:
        key, name = read_key(folder), folder.resolve().name
        below = f"{FOLDER}/{name}"
        if not _NAME.fullmatch(name):
            raise UsageError(f"{folder} cannot be in an address: rename it to letters and digits")
        if f"{below}/{TEST}" in self.files:
            raise UsageError(f"two tests are named {name}: rename one folder")
        try:
            with parsing():
                test = json.loads((folder / PAGE / TEST).read_text(encoding="utf-8"))
                test["send"] = f"../../{ROUTE}"
                if test["id"] != key.test:
                    raise ValueError(f"it is the test {test['id']}, but the key is of {key.test}")
        except (OSError, ValueError) as error:
            raise FileError(f"{folder / PAGE / TEST} cannot be read: {error}") from error
        self.keys[key.test] = key
        self.files[f"{below}/{TEST}"] = json.dumps(test).encode()
        for sound in key.sounds:
            file = folder / PAGE / AUDIO / sound
            if not file.is_file():
                raise FileError(f"{file} is missing: copy the test again, with all its sounds")
            self.files[f"{below}/{AUDIO}/{sound}"] = file
        self.pages.append(f"listen.html?test={below}")

    def accept(self, body: bytes) -> None:
        """Store the ratings that a listener sent.

        Raises:
            ValueError: ``body`` has no ratings of one of the tests.
            FileError: the store cannot be written.
        """
        try:
            with parsing():
                value = json.loads(body)
        except ValueError as error:
            raise ValueError(f"the ratings are not JSON: {error}") from error
        submission = check(value)
        key = self.keys.get(submission.test)
        if key is None:
            raise ValueError(f"there is no test {submission.test}")
        match(submission, key)
        if not submission.ratings:
            raise ValueError("ratings is empty: rate at least one trial")
        self.ratings.add(submission.test, submission.listener, value)
