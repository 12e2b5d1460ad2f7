"""The real model, as the tests of embedding have it."""

from tests.actors.embedding.conftest import models_folder, real_engine

__all__ = ["models_folder", "real_engine"]
