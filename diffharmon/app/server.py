"""The page's server: loopback by default, no request to anywhere else, downloads under names nobody can guess."""

import logging
from pathlib import Path
from typing import Annotated, Any

import gradio as gr
import uvicorn
from fastapi import FastAPI, HTTPException
from fastapi import Path as InPath
from fastapi.responses import FileResponse
from starlette.datastructures import MutableHeaders
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from diffharmon.app.actions import Actions
from diffharmon.app.page import Page
from diffharmon.app.wording import plain
from diffharmon.errors import DiffharmonError, InputError

LOOPBACK = ("127.0.0.1", "localhost")
STYLE = Path(__file__).with_name("page.css")
# What the browser may load: this server only. Gradio draws with inline styles and compiles its templates.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; worker-src 'self' blob:; "
    "object-src 'none'; base-uri 'self'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Confined:
    """Tells the browser with every answer to ask nobody else.

    Args:
        app: What answers.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with the headers added."""

        async def send_confined(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        await self.app(scope, receive, send_confined)


def theme() -> Any:
    """Return quiet colours and the fonts that the visitor's system has."""
    return gr.themes.Base(
        primary_hue=gr.themes.colors.stone,
        neutral_hue=gr.themes.colors.stone,
        radius_size=gr.themes.sizes.radius_md,
        font=["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    )


def application(actions: Actions, folders: tuple[Path, ...], host: str, port: int) -> FastAPI:
    """Put page, downloads and headers together.

    Args:
        actions: What the page does.
        folders: The page's own folders, which errors do not name.
        host: Address that the server listens on; on loopback, requests for other names are refused.
        port: Its port.
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(Confined)
    if host in LOOPBACK:
        # A page elsewhere whose name is made to point here would otherwise read what is on this one.
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(LOOPBACK))

    @app.get("/download/{visit}/{number}/{variant}/{kind}")
    def download(
        visit: str, number: Annotated[int, InPath(ge=0)], variant: Annotated[int, InPath(ge=0)], kind: str
    ) -> FileResponse:
        try:
            path, name = actions.download(visit, number, variant, kind)
        except InputError as error:
            raise HTTPException(404, plain(error, folders)) from None
        except DiffharmonError as error:
            raise HTTPException(500, plain(error, folders)) from None
        return FileResponse(path, filename=name, headers={"Cache-Control": "no-store"})

    return gr.mount_gradio_app(
        app,
        Page(actions, folders).build(),
        path="/",
        server_name=host,
        server_port=port,
        footer_links=[],
        run_history=False,
        show_error=True,
        max_file_size=actions.limits.megabytes * 2**20,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        enable_monitoring=False,
        theme=theme(),
        css_paths=[STYLE],
    )


def serve(app: FastAPI, host: str, port: int) -> None:
    """Serve requests until a signal ends the process."""
    logging.getLogger("httpx").setLevel(logging.WARNING)
    uvicorn.run(app, host=host, port=port, log_level="warning")
