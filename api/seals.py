"""Seals: the head of the chain over the journal, for whoever wants to keep it elsewhere."""

from api import operations
from api.dependencies import Here
from api.operations import operation
from api.schemas.seals import Seal
from takings.ledger import seals

router = operations.router("seals")


@router.get("/seals/head", **operation("finance"))
async def head(here: Here) -> Seal:
    """The last seal, which stands for all entries up to it: keep it as an anchor."""
    return Seal(**(await here.database.run(seals.head)).published(here.now()))
