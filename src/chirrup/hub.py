"""Download of model folders from the Hugging Face hub, through the package huggingface_hub.

Its cache serves a model without a network. Its variables apply, for example ``HF_ENDPOINT``,
``HF_HUB_CACHE``, ``HF_HUB_OFFLINE`` and ``HF_TOKEN``.
"""

import re
from pathlib import Path
from typing import Any

from chirrup.engines import model_files
from chirrup.errors import FileError, ModelError
from chirrup.model_json import read_spec

PREFIX = "hf://"
ADDRESS = re.compile(rf"{PREFIX}([\w.-]+/[\w.-]+)(?:@(.+))?", re.ASCII)
"""``hf://owner/name`` or ``hf://owner/name@revision``."""
CARD = "README.md"


def download(address: str) -> Path:
    """Download the files of a model folder, or find them in the cache of huggingface_hub.

    Other files of the repository are not downloaded. All files are of one commit.

    Args:
        address: ``hf://owner/name`` or ``hf://owner/name@revision``. The revision is a branch, a
            tag or a commit. Without it, the model is of the branch ``main``.

    Returns:
        The folder in the cache.

    Raises:
        ModelError: there is no such repository or revision, or it is not a model folder.
        FileError: huggingface_hub is not installed, or the hub cannot be reached and the cache does
            not have the model.
    """
    parts = ADDRESS.fullmatch(address)
    if parts is None:
        raise ModelError(
            f"{address!r} is not an address of a model: use {PREFIX}owner/name or "
            f"{PREFIX}owner/name@revision"
        )
    folder = _snapshot(address, parts[1], parts[2], ["model.json"])
    if not (folder / "model.json").is_file():
        raise ModelError(
            f"{address} is not a model folder of chirrup: the repository has no model.json; "
            "codec.save_pretrained writes one"
        )
    names = ["model.json", CARD, *model_files(read_spec(folder)[0])]
    return _snapshot(address, parts[1], folder.name, names)


def _snapshot(address: str, repository: str, revision: str | None, names: list[str]) -> Path:
    """Download files and return their folder in the cache, whose name is the commit.

    Args:
        names: the files, as far as the repository has them.
    """
    try:
        from huggingface_hub import errors, snapshot_download
        from huggingface_hub.utils import tqdm
    except ModuleNotFoundError as error:
        raise FileError(
            f"{address} needs huggingface_hub, which is not installed: pip install 'chirrup[hub]'"
        ) from error

    class Quiet(tqdm):
        """No bar of the number of files, which would also appear for a model in the cache."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs | {"disable": True})

    try:
        folder = snapshot_download(
            repository,
            revision=revision,
            allow_patterns=names,
            library_name="chirrup",
            tqdm_class=Quiet,
        )
    except (errors.RepositoryNotFoundError, errors.HFValidationError) as error:
        raise ModelError(
            f"there is no repository {address}, or you have no access: check the name, or log in "
            "with `hf auth login`"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise ModelError(
            f"{address} has no such revision: give a branch, a tag or a commit of the repository"
        ) from error
    except Exception as error:  # the version of the package determines its HTTP library
        reason = " ".join(str(error).split()) or type(error).__name__
        raise FileError(
            f"{address} cannot be downloaded and is not in the cache: {reason}"
        ) from error
    return Path(folder)
