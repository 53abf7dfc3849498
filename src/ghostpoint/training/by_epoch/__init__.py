"""One epoch loop for the reference engine and the torch engine."""
