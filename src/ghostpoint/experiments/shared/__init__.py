"""What the experiments share: claims, networks, trainings that are kept, full-rank trials."""
