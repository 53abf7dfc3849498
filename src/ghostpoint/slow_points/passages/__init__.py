"""How long a ghost holds the network: normal form, slow manifold, sensitivity."""
