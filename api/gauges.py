"""What is measured, for Prometheus."""

from starlette.responses import Response

from api import metrics, operations
from api.dependencies import Here
from api.operations import operation

router = operations.router("metrics", prefix="")


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {metrics.MEDIA_TYPE: {"schema": {"type": "string"}}}}},
    **operation("finance"),
)
async def scrape(here: Here) -> Response:
    """The books' health and the service's, in Prometheus's text."""
    text = await metrics.exposition(here.database, here.now())
    return Response(text, media_type=metrics.MEDIA_TYPE)
