"""Policies: commission, fees, limits and release days as data, frozen into each line."""

from takings.policies.policies import get, latest, publish, publish_presets

__all__ = ["get", "latest", "publish", "publish_presets"]
