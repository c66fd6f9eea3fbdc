"""Puts the rehearsal together."""

from fastapi import FastAPI

from services.rehearsal.api import Realtime, add_routes
from services.rehearsal.ledger import Ledger
from services.rehearsal.settings import RehearsalSettings
from services.rehearsal.voice.provided import open_voice
from services.runtime import health
from services.runtime.http import serve_http
from services.runtime.process import Process


async def serve(settings: RehearsalSettings, process: Process) -> None:
    """Run until the process is told to stop."""
    ledger = Ledger()
    app = FastAPI(openapi_url=None)
    health.add_routes(app, process.health)
    async with open_voice(settings.voice, ears=settings.ears) as voice:
        realtime = Realtime(settings=settings, voice=voice, ledger=ledger)
        add_routes(app, realtime=realtime, ledger=ledger)
        async with serve_http(app, host=settings.http_host, port=settings.http_port, websockets=True) as url:
            process.ready(url)
            await process.stopping.wait()
            await realtime.close_all()
