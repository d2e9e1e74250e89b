"""The service: a thin API over the acts, its worker, and its command line."""
