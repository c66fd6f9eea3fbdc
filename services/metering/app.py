"""Wiring of the metering service: price books, ledger, feeds, counters, HTTP."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

from prometheus_client import REGISTRY

from services.metering.api import make_app
from services.metering.core.pricing import Books
from services.metering.core.totals import Totals
from services.metering.dialect import ledger_url
from services.metering.metrics import LedgerCollector
from services.metering.pricebooks import load_books
from services.metering.recorder import Recorder, calls_feed, placed_feed, usage_feed
from services.metering.settings import MeteringSettings
from services.metering.store import Ledger
from services.runtime import clock
from services.runtime.bus.client import Bus
from services.runtime.http.server import serve_http
from services.runtime.process.runner import Process
from services.runtime.telemetry.logging import get_logger


async def serve(bus: Bus, settings: MeteringSettings, process: Process) -> None:
    """Book usage and serve the usage API until the process stops.

    Raises:
        HushgateError: a price book is invalid, the ledger cannot be used, or another process uses it.
    """
    books = load_books(settings.price_books)
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="ledger") as thread:
        async with _ledger(settings, books, thread) as ledger:
            totals = await _seed(ledger, settings, thread)
            collector = LedgerCollector(totals)
            REGISTRY.register(collector)
            try:
                recorder = Recorder(bus, thread, totals, process.health, process.stopping, tracer=process.tracer)
                await _run(settings, process, recorder, ledger)
            finally:
                REGISTRY.unregister(collector)


@asynccontextmanager
async def _ledger(settings: MeteringSettings, books: Books, thread: ThreadPoolExecutor) -> AsyncIterator[Ledger]:
    loop = asyncio.get_running_loop()
    url = ledger_url(settings.secret("ledger_url").get_secret_value(), settings.data_dir)
    opened = Ledger.open(url, books, settings.terms)
    ledger = await loop.run_in_executor(thread, opened.__enter__)
    try:
        yield ledger
    finally:
        await loop.run_in_executor(thread, opened.__exit__, None, None, None)


async def _seed(ledger: Ledger, settings: MeteringSettings, thread: ThreadPoolExecutor) -> Totals:
    loop = asyncio.get_running_loop()
    repriced = await loop.run_in_executor(thread, lambda: ledger.reprice(now=clock.utc_now()))
    if repriced:
        get_logger().info("usage_repriced", lines=len(repriced), nano_usd=sum(each.cost_nano for each in repriced))
    totals = Totals(frozenset(settings.metric_tenants))
    everything, results, reasons = await loop.run_in_executor(thread, ledger.totals)
    totals.add(everything)
    totals.results.update(results)
    totals.reasons.update(reasons)
    return totals


async def _run(settings: MeteringSettings, process: Process, recorder: Recorder, ledger: Ledger) -> None:
    app = make_app(ledger, token=settings.secret("api_token").get_secret_value(), health=process.health)
    async with serve_http(app, host=settings.http_host, port=settings.http_port) as url, asyncio.TaskGroup() as group:
        group.create_task(recorder.run_feed(placed_feed(ledger)), name="placed")
        group.create_task(recorder.run_feed(calls_feed(ledger)), name="calls")
        group.create_task(recorder.keep_sweeping(ledger), name="sweep")
        group.create_task(recorder.run_feed(usage_feed(ledger)), name="usage")
        process.ready(url)
        await process.stopping.wait()
