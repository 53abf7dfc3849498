"""Closed forms: the toy model, its gradient descent, and the normal form of a ghost. Networks are
tested against them.

``SaddleNodeToy`` holds the equations of the published toy model; ``descent`` runs gradient descent
on its loss, ``quadrature`` integrates it at finite confidence, ``euler`` is the published
discretisation of the same loss. ``plateau`` is the training of rank-one networks in overlaps of
their weights, ``overlap_descent`` the same with finite steps and at any rank, and ``slow_region``
has the terms of the critical rate. ``minimal_system`` and the families built on it are systems of
one to n dimensions that learn to wait.
"""

from ghostpoint.theory.closed_delays import (
    PowerLawDelay,
    SaddleNodesInParallel,
    SaddleNodesInSeries,
    StartedSaddleNode,
)
from ghostpoint.theory.complex_saddle_node import ComplexSaddleNode
from ghostpoint.theory.descent import OUTCOMES, Descent
from ghostpoint.theory.euler import EulerLoss
from ghostpoint.theory.fast_plane import FastPlane
from ghostpoint.theory.minimal_system import MinimalDescent, MinimalSystem, OneParameter
from ghostpoint.theory.normal_form import NormalForm
from ghostpoint.theory.overlap_descent import OverlapDescent, critical_rate
from ghostpoint.theory.plateau import Plateau, plateau_length
from ghostpoint.theory.saddle_node import SaddleNodeToy
from ghostpoint.theory.slow_region import SlowRegion

__all__ = [
    "OUTCOMES",
    "ComplexSaddleNode",
    "Descent",
    "EulerLoss",
    "FastPlane",
    "MinimalDescent",
    "MinimalSystem",
    "NormalForm",
    "OneParameter",
    "OverlapDescent",
    "Plateau",
    "PowerLawDelay",
    "SaddleNodeToy",
    "SaddleNodesInParallel",
    "SaddleNodesInSeries",
    "SlowRegion",
    "StartedSaddleNode",
    "critical_rate",
    "plateau_length",
]
