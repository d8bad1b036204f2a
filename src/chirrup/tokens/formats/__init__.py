"""Formats of shards, by name."""

from chirrup.tokens.formats import npz, parquet, tar
from chirrup.tokens.formats.form import Form, Place

FORMATS = {
    "parquet": Form(
        parquet.names, parquet.open_writer, parquet.read, parquet.read_codes, parquet.check
    ),
    "webdataset": Form(
        tar.webdataset_names, tar.open_webdataset, tar.read_webdataset, tar.read_webdataset_codes
    ),
    "shar": Form(tar.shar_names, tar.open_shar, tar.read_shar, tar.read_shar_codes),
    "npz": Form(npz.names, npz.open_writer, npz.read, npz.read_codes),
}

__all__ = ["FORMATS", "Form", "Place"]
