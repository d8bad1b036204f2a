"""Export of trained models to folders that the runtime loads."""
