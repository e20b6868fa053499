"""One small trained network for all tests of the conversion."""

from conversion_models import trained

__all__ = ["trained"]
