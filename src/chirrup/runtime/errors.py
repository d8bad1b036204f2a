"""The error of a model that cannot be used."""


class ModelError(ValueError):
    """A model that is not there, or a folder that holds none that is whole."""
