"""Hosts, Spaces, and who shares what in them."""
