"""Music for training: pieces that are composed by rule, and their rendering by FluidSynth."""
