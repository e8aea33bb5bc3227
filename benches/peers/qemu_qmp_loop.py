"""Asks `query-migrate` again and again with QEMU's own Python library, and prints how often it was answered.

usage: qemu_qmp_loop.py SOCKET SECONDS   (needs the package qemu.qmp; benches/sampling.rs starts it)
"""

import asyncio
import json
import sys
import time

from qemu.qmp import QMPClient


async def main(path: str, seconds: float) -> None:
    client = QMPClient("bench")
    await client.connect(path)
    await client.execute("query-migrate")
    cpu = time.process_time()
    began = time.monotonic()
    answers = 0
    while (spent := time.monotonic() - began) < seconds:
        await client.execute("query-migrate")
        answers += 1
    cpu = time.process_time() - cpu
    await client.disconnect()
    print(json.dumps({"answers": answers, "seconds": spent, "cpu_seconds": cpu}))


asyncio.run(main(sys.argv[1], float(sys.argv[2])))
