"""A stateful stand-in for Stripe over HTTP; it imports nothing of the project.

``async with sandbox.running(seed=1) as box:`` in a test, ``python -m sandbox`` by itself.
"""

from sandbox.control import Sandbox
from sandbox.serving import running

__all__ = ["Sandbox", "running"]
