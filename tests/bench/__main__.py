"""``make bench``: the product against bare handlers, peers and raw work, as ratios from interleaved runs."""

import os
import sys
import time

import uvloop

from tests.bench import bulk, calls, cases, imports
from tests.bench.city import ROOT, running
from tests.bench.figures import Row, console, tell
from tests.bench.load import install_h2load

REPORT = ROOT / "build" / "bench.json"


async def main() -> list[Row]:
    """Measure everything; print and keep the figures."""
    started = time.monotonic()
    by_h2load = await install_h2load()
    async with running() as bench:
        rows = await calls.measure(bench, by_h2load=by_h2load)
        rows += [await imports.measure(bench), await bulk.measure(bench)]
        rows += await cases.measure(bench)
    reads = "h2load" if by_h2load else "our own SLOWER generator (h2load could not be installed)"
    remark = (
        f"Reads driven by {reads}, commands by tests.bench.client with an id each and the rows counted. Medians of"
        f" interleaved rounds on {os.cpu_count()} cores; only ratios count. {time.monotonic() - started:.0f} s."
    )
    tell(rows, remark, REPORT)
    return rows


if __name__ == "__main__":
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")  # servers are started while channels are open
    uvloop.run(main())
    console.file.flush()
    sys.stdout.flush()
    os._exit(0)  # Temporal's client sometimes crashes the interpreter at exit, the work being done
