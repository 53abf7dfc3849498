"""Closed forms: the toy model, its gradient descent, and the normal form of a ghost. Networks are
tested against them.

``SaddleNodeToy`` holds the equations of the published toy model; ``descent`` runs gradient descent
on its loss, ``quadrature`` integrates it at finite confidence, ``euler`` is the published
discretisation of the same loss. ``plateau`` is the training of rank-one networks in overlaps of
their weights.
"""

from ghostpoint.theory.descent import OUTCOMES, Descent
from ghostpoint.theory.euler import EulerLoss
from ghostpoint.theory.normal_form import NormalForm
from ghostpoint.theory.plateau import Plateau, plateau_length
from ghostpoint.theory.saddle_node import SaddleNodeToy

__all__ = ["OUTCOMES", "Descent", "EulerLoss", "NormalForm", "Plateau", "SaddleNodeToy", "plateau_length"]
