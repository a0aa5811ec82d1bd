#!/usr/bin/env python
"""Many clients at once send good and bad photos to a server of this machine: answers, times, memory.

    python tools/load_server.py http://127.0.0.1:8000 PHOTO --clients 200 --each 5 --pid PID

Every second photo is bad: cut, no image, too many pixels. A client that is sent away (429) comes again after the time
that it was told and up to a second more. "answer" is the time of the request that was let in; "to an answer" also has
the requests that were sent away and the waits between. Every answer is compared with the first one to a client alone.
"""

import argparse
import asyncio
import random
import statistics
import struct
import time
import zlib
from collections import Counter, defaultdict
from pathlib import Path

import httpx

SIZE = (b"IHDR" + struct.pack(">IIBBBBB", 20000, 20000, 8, 2, 0, 0, 0), b"IDAT", b"IEND")
HUGE = b"".join(struct.pack(">I", len(each) - 4) + each + struct.pack(">I", zlib.crc32(each)) for each in SIZE)


class Load:
    def __init__(self, photo: bytes) -> None:
        bad = {"damaged_image": photo[: len(photo) // 2], "not_an_image": b"no", "too_large": photo[:8] + HUGE}
        self.sent = [each for name in bad for each in (("boxes", photo), (name, bad[name]))]
        self.boxes: list[float] = []
        self.seconds: defaultdict[str, list[float]] = defaultdict(list)
        self.said: Counter[str] = Counter()

    async def ask(self, session: httpx.AsyncClient, expected: str, content: bytes) -> None:
        first = time.perf_counter()
        while True:
            begun = time.perf_counter()
            answer = await session.post("/api/photos", content=content, headers={"content-type": "image/png"})
            now = time.perf_counter()
            if answer.status_code != 429:
                break
            self.seconds["sent away"].append(now - begun)
            await asyncio.sleep(float(answer.headers["retry-after"]) + random.random())
        got = "boxes" if answer.status_code == 200 else answer.json()["error"]["name"]
        if got == "boxes":
            self.seconds["answer"].append(now - begun)
            self.seconds["to an answer"].append(now - first)
            boxes = [x for box in answer.json()["boxes"] for x in (*box["box_xyxy"], 100 * box["objectness"])]
            self.boxes = self.boxes or boxes  # several at once are summed in another order: nearly equal
            if len(boxes) != len(self.boxes) or max(abs(x - y) for x, y in zip(boxes, self.boxes, strict=True)) > 0.1:
                got += ", WRONG"
        self.said[got if got.startswith(expected) else f"{got}, WRONG in place of {expected}"] += 1

    async def run(self, url: str, clients: int, each: int) -> None:
        async def client(number: int) -> None:
            for turn in range(number, number + each):
                await self.ask(session, *self.sent[turn % len(self.sent)])

        async with httpx.AsyncClient(base_url=url, timeout=120, limits=httpx.Limits(max_connections=None)) as session:
            await asyncio.gather(*map(client, range(clients)))


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("url")
parser.add_argument("photo", type=Path, help="a PNG")
for name, default in (("--clients", 200), ("--each", 5), ("--alone", 200), ("--pid", None)):
    parser.add_argument(name, type=int, default=default)
options = parser.parse_args()
load = Load(options.photo.read_bytes())
for clients, each in ((1, options.alone), (options.clients, options.each), (1, options.alone)):
    load.seconds, load.said, begun = defaultdict(list), Counter(), time.perf_counter()
    asyncio.run(load.run(options.url, clients, each))
    print(f"{clients} clients, {each} photos each: {time.perf_counter() - begun:.1f} s; {dict(load.said)}")
    for what, seconds in load.seconds.items():
        p50, p99, most = statistics.median(seconds), statistics.quantiles(seconds, n=100)[98], max(seconds)
        print(f"  {what}: {len(seconds)}, median {p50:.3f} s, p99 {p99:.3f} s, most {most:.3f} s", flush=True)
    if options.pid:  # as Linux counts it, in pages of 4 KiB
        print(f"  memory of the server: {int(Path(f'/proc/{options.pid}/statm').read_text().split()[1]) / 256:.0f} MiB")
