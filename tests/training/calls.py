"""``train`` with the settings of :class:`~ghostpoint.Computing` as keywords of their own, for tests
that vary them.
"""

from __future__ import annotations

from dataclasses import fields

import ghostpoint as gp

SETTINGS = {one.name for one in fields(gp.Computing)}


def train_with(*arguments, **keywords):
    """``gp.train``; what is a setting of the record goes there."""
    computing = {name: keywords.pop(name) for name in SETTINGS & keywords.keys()}
    return gp.train(*arguments, engine=gp.Computing(**computing), **keywords)
