"""Hosts, Spaces, and who shares what in them."""

from takings.spaces.spaces import get, move, schedule

__all__ = ["get", "move", "schedule"]
