"""The experiments by id: the one line by which ``ghostpoint reproduce`` finds an experiment and its
figure.
"""

from __future__ import annotations

from collections.abc import Mapping

#: id: (file, entry), in the order of the publication. ``experiments/FILE.py`` defines ENTRY as an
#: ``Experiment``, and ``figures/FILE.py`` defines ENTRY as the ``Drawing`` of its saved results.
CATALOGUE: Mapping[str, tuple[str, str]] = {
    "toy_loss": ("toy_loss", "TOY_LOSS"),
    "toy_descent": ("toy_descent", "TOY_DESCENT"),
    "toy_rates": ("toy_rates", "TOY_RATES"),
    "minimal_systems": ("minimal_systems", "MINIMAL_SYSTEMS"),
    "ghost_without_bifurcation": ("ghost_without_bifurcation", "GHOST_WITHOUT_BIFURCATION"),
    "collapse": ("collapse", "COLLAPSE"),
    "fixed_point_count": ("fixed_point_count", "FIXED_POINT_COUNT"),
    "before_the_drop": ("before_the_drop", "BEFORE_THE_DROP"),
    "plateau": ("plateau", "PLATEAU"),
    "ghost_sequences": ("ghost_sequences", "GHOST_SEQUENCES"),
    "latent_dcdt": ("latent_paths", "DCDT"),
    "latent_dmts": ("latent_paths", "DMTS"),
    "full_dcdt": ("full_rank_paths", "DCDT"),
    "full_dmts": ("full_rank_paths", "DMTS"),
    "rates_rank_one": ("rates_rank_one", "RATES_RANK_ONE"),
    "critical_rate_scaling": ("critical_rate_scaling", "CRITICAL_RATE_SCALING"),
    "exponent": ("exponent", "EXPONENT"),
    "stability_boundaries": ("stability_boundaries", "STABILITY_BOUNDARIES"),
    "rates_full_rank": ("full_rank_sweeps", "DELAYED_ACTIVATION"),
    "ranks": ("ranks", "RANKS"),
    "rates_dcdt": ("full_rank_sweeps", "DCDT"),
    "rates_dmts": ("full_rank_sweeps", "DMTS"),
    "saturation_dmts": ("saturation_dmts", "SATURATION_DMTS"),
    "confidence": ("confidence", "FIXED"),
    "trainable_confidence": ("confidence", "TRAINABLE"),
    "intervention": ("intervention", "INTERVENTION"),
    "remedies": ("remedies", "REMEDIES"),
    "architectures": ("architectures", "COMPARED"),
}
