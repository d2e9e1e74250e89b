"""Tips: a listener gives money to a Space's hosts."""

from tipping import presets, tabs, tips

__all__ = ["presets", "tabs", "tips"]
