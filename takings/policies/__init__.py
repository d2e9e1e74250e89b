"""Policies: commission, fees, limits and release days as data, frozen into each line."""
