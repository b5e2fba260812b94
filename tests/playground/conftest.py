"""What the tests of the playground share."""

from __future__ import annotations

import pytest

from mfv_dsl.playground.studio import Settings, Studio


@pytest.fixture(scope="session")
def studio() -> Studio:
    """The bundled model with few prompts, so that vectors are quick."""
    return Studio.open(Settings(defaults={"heads": "{L2H6, L4H1}", "trials": "8"}))
