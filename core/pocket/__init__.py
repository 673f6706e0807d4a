"""Three tasks small enough for a laptop: tiny base models that half know something, with flawed training data."""
