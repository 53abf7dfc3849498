"""Networks of low rank: all fixed points of the latents, proven, and their ghosts."""
