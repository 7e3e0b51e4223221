"""An HTTP server with range requests and simulated network faults: python range_server.py PORT FOLDER."""

import sys
from collections import Counter
from pathlib import Path

from aiohttp import BasicAuth, web

FOLDER = Path(sys.argv[2])
ASKED: Counter[str] = Counter()


async def flaky(request: web.Request) -> web.StreamResponse:
    """Every other request fails."""
    name = request.match_info["name"]
    ASKED[name] += 1
    return web.FileResponse(FOLDER / name) if ASKED[name] % 2 == 0 else web.Response(status=503)


async def short(request: web.Request) -> web.StreamResponse:
    """Every other response breaks off in the middle, short of its stated length."""
    name = request.match_info["name"]
    ASKED[name] += 1
    if ASKED[name] % 2 == 0 or request.method == "HEAD":
        return web.FileResponse(FOLDER / name)
    part = request.http_range
    content = (FOLDER / name).read_bytes()[part]
    response = web.StreamResponse(status=206, headers={"Content-Length": str(len(content))})
    await response.prepare(request)
    await response.write(content[: len(content) // 2])
    assert request.transport is not None
    request.transport.abort()
    return response


async def locked(request: web.Request) -> web.StreamResponse:
    """Requires the right token or user."""
    tokens, users = ("right", "r+g/t="), ("Bearer right", BasicAuth("me", "right").encode())
    if request.query.get("token") not in tokens and request.headers.get("Authorization") not in users:
        return web.Response(status=403)
    return web.FileResponse(FOLDER / request.match_info["name"])


async def whole(request: web.Request) -> web.StreamResponse:
    """Ignores range requests."""
    return web.Response(body=(FOLDER / request.match_info["name"]).read_bytes())


application = web.Application()
application.router.add_static("/files/", FOLDER)
for handler in (flaky, short, locked, whole):
    application.router.add_get(f"/{handler.__name__}/{{name}}", handler)
web.run_app(application, host="127.0.0.1", port=int(sys.argv[1]), print=None)
