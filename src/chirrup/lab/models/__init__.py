"""The models, one readable file a paper, and the names they are known by."""

from chirrup.lab.models.iris import Iris, IrisConfig

CONFIGS = {"iris-t1": IrisConfig(), "iris-t2": IrisConfig.track_2()}


def build(name: str) -> Iris:
    """A model with fresh weights.

    Raises:
        ValueError: no model has that name.
    """
    if name not in CONFIGS:
        raise ValueError(f"no model is called {name!r}; there are: {', '.join(CONFIGS)}")
    return Iris(CONFIGS[name])
