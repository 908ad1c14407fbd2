"""The page at /docs: Swagger UI, served whole from this machine.

FastAPI's own page loads scripts from a content delivery network, which a firewall's host often cannot reach and should
not have to trust at run time. The files come from the package `fastapi-swagger`, which follows the releases of Swagger
UI; they are read on the first request for them. The page allows itself nothing from elsewhere.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

_FILES = {
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "swagger-ui.css": "text/css; charset=utf-8",
    "favicon-32x32.png": "image/png",
}
_START = b'SwaggerUIBundle({url: "openapi.json", dom_id: "#swagger-ui", deepLinking: true, tryItOutEnabled: true});\n'
_PAGE = b"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Vedette HTTP API</title>
<link rel="stylesheet" href="docs/swagger-ui.css">
<link rel="icon" type="image/png" href="docs/favicon-32x32.png">
</head>
<body>
<div id="swagger-ui"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'"
)


def docs_routes() -> list[Route]:
    """Return the routes of the page and its files."""
    return [
        Route("/docs", _page, include_in_schema=False),
        Route("/docs/{name}", _file, include_in_schema=False),
    ]


async def _page(request: Request) -> Response:
    headers = {"Content-Security-Policy": _POLICY, "X-Content-Type-Options": "nosniff"}
    return Response(_PAGE, media_type="text/html", headers=headers)


async def _file(request: Request) -> Response:
    name = request.path_params["name"]
    if name == "start.js":
        return Response(_START, media_type="text/javascript")
    if name not in _FILES:
        raise HTTPException(404)
    headers = {"Cache-Control": "public, max-age=3600", "X-Content-Type-Options": "nosniff"}
    return Response(_read(name), media_type=_FILES[name], headers=headers)


@lru_cache(len(_FILES))
def _read(name: str) -> bytes:
    return files("fastapi_swagger.resources").joinpath(name).read_bytes()
