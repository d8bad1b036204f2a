"""A trained model to a folder that the runtime loads."""
