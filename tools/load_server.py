#!/usr/bin/env python
"""Many clients at once send good and bad photos to a server of this machine: answers, times, memory.

    python tools/load_server.py http://127.0.0.1:8000 PHOTO --clients 200 --each 5 --pid PID

Every second photo is bad: cut, no image, too many pixels. A client that is sent away (429) waits as it was told, and
tries again. The times are those of good photos, from the request that was taken to its answer.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import struct
import time
import zlib
from collections import Counter
from pathlib import Path

import httpx


def bad_photos(good: bytes) -> list[bytes]:
    """A photo that ends early, a file that is none, and a header of 400 million pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", 20000, 20000, 8, 2, 0, 0, 0)
    huge = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    return [good[: len(good) // 2], b"no image at all", huge]


async def ask(session: httpx.AsyncClient, number: int, photo: bytes, seconds: list[float], said: Counter[str]) -> None:
    is_good = number % 2 == 0
    content = photo if is_good else bad_photos(photo)[number // 2 % 3]
    while True:
        begun = time.perf_counter()
        answer = await session.post("/api/photos", content=content, headers={"content-type": "image/png"})
        if answer.status_code != 429:
            break
        said["429 sent away"] += 1
        await asyncio.sleep(float(answer.headers["retry-after"]))
    seconds += [time.perf_counter() - begun] * is_good
    name = "boxes" if answer.status_code == 200 else answer.json()["error"]["name"]
    said[f"{'good' if is_good else 'bad'}: {answer.status_code} {name}"] += 1


async def load(url: str, clients: int, each: int, photo: bytes) -> None:
    seconds: list[float] = []
    said: Counter[str] = Counter()
    begun = time.perf_counter()

    async def client(first: int) -> None:
        for turn in range(each):
            await ask(session, first + turn, photo, seconds, said)

    async with httpx.AsyncClient(base_url=url, timeout=120, limits=httpx.Limits(max_connections=None)) as session:
        await asyncio.gather(*map(client, range(clients)))
    print(f"{clients} clients, {each} photos each: {time.perf_counter() - begun:.1f} s")
    print("\n".join(f"  {count:5}  {line}" for line, count in sorted(said.items())))
    p50, p99 = statistics.median(seconds), statistics.quantiles(seconds, n=100)[98]
    print(f"  good ones: median {1000 * p50:.0f} ms, p99 {1000 * p99:.0f} ms, most {1000 * max(seconds):.0f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("photo", help="a PNG")
    for name, default in (("--clients", 200), ("--each", 5), ("--pid", None)):
        parser.add_argument(name, type=int, default=default)
    options = parser.parse_args()
    photo = Path(options.photo).read_bytes()
    for clients, each in ((1, 20), (options.clients, options.each), (1, 20)):
        asyncio.run(load(options.url, clients, each, photo))
        if options.pid:  # as Linux counts it
            status = Path(f"/proc/{options.pid}/status").read_text(encoding="utf-8")
            print(f"memory of the server: {int(status.partition('VmRSS:')[2].split()[0]) / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
