"""Jobs of `tokenize` that end their process at a certain recording, as a decoder may."""

import os

from chirrup.tokens import work
from chirrup.tokens.sources import Recording


def run_or_die(job: str) -> str:
    """Run a job; the process ends when it reads a file whose name begins with ``deadly``."""
    source = Recording.source

    def deadly(self: Recording) -> object:
        if os.path.basename(self.file).startswith("deadly"):
            os._exit(3)
        return source(self)

    Recording.source = deadly  # pyright: ignore[reportAttributeAccessIssue]
    return work.run(job)
