"""What a model costs, how late it is and how far back it looks."""
