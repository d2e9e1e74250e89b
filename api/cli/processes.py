"""What runs until it is told to stop: the service, its worker, the sandbox."""

import asyncio
import sys
from typing import Annotated

import typer

import sandbox as stand_in
from api import serving, worker as work
from api.cli import loop, output
from api.settings import current
