"""Wires the rehearsal."""

from fastapi import FastAPI

from services.rehearsal.api import MAX_MESSAGE_BYTES, Realtime, add_routes
from services.rehearsal.session_archive import SessionArchive
from services.rehearsal.settings import RehearsalSettings
from services.rehearsal.voice.provided import open_voice
from services.runtime.http.server import serve_http
from services.runtime.process import health
from services.runtime.process.runner import Process


async def serve(settings: RehearsalSettings, process: Process) -> None:
    """Serve until the process stops."""
    ledger = SessionArchive()
    app = FastAPI(openapi_url=None)
    health.add_routes(app, process.health)
    async with open_voice(settings.voice, recognisers=settings.recognisers) as voice:
        realtime = Realtime(settings=settings, voice=voice, ledger=ledger)
        add_routes(app, realtime=realtime, ledger=ledger)
        async with serve_http(
            app, host=settings.http_host, port=settings.http_port, max_websocket_bytes=MAX_MESSAGE_BYTES
        ) as url:
            process.ready(url)
            await process.stopping.wait()
            await realtime.close_all()
