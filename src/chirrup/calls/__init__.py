"""Live voices between machines: an end with its socket, files, pipes and devices."""
