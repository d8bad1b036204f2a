"""The page in a browser: its files, the server of `chirrup page`, and `chirrup serve`."""
