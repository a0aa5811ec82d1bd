#!/usr/bin/env python
"""Many clients at once send good and bad photos to a server of this machine: answers, times, memory.

    python benchmarks/serving.py 127.0.0.1:8000 PHOTO --clients 200 --each 5 --pid PID

Every second photo is bad: cut, no image, too many pixels. A client that is sent away (429) comes again after the time
that it was told and up to a second more. "answer" is the time of the request that was let in; "to an answer" also has
the requests that were sent away and the waits between. The clients share the processor with the server, so they speak
HTTP by hand, keep their connections, and compare their answers with that of a client alone at the end.
"""

import argparse
import asyncio
import json
import random
import statistics
import struct
import time
import zlib
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

SIZE = (b"IHDR" + struct.pack(">IIBBBBB", 20000, 20000, 8, 2, 0, 0, 0), b"IDAT", b"IEND")
HUGE = b"".join(struct.pack(">I", len(each) - 4) + each + struct.pack(">I", zlib.crc32(each)) for each in SIZE)


async def client(where: str, contents: list[tuple[str, bytes]], found: Any) -> None:
    reader = writer = None
    for expected, content in contents:
        head = (
            f"POST /api/photos HTTP/1.1\r\nhost: {where}\r\ncontent-type: image/png\r\ncontent-length: {len(content)}"
        )
        first, status = time.perf_counter(), 429
        while status == 429:
            begun = time.perf_counter()
            try:
                if reader is None or writer is None:
                    reader, writer = await asyncio.open_connection(*where.split(":"))
                writer.write(head.encode() + b"\r\n\r\n" + content)
                lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            except (OSError, asyncio.IncompleteReadError):  # it was open for so long that the server has closed it
                reader, found["closed"] = None, [*found["closed"], time.perf_counter() - begun]
                continue
            said, status = dict(line.split(": ") for line in lines[1:] if line), int(lines[0].split()[1])
            body = await reader.readexactly(int(said["content-length"]))
            now = time.perf_counter()
            if status == 429:
                found["sent away"].append(now - begun)
                await asyncio.sleep(float(said["retry-after"]) + random.random())
        found["bodies"].append((expected, status, body))
        if status == 200:
            found["answer"].append(now - begun)
            found["to an answer"].append(now - first)


def check(bodies: list[tuple[str, int, bytes]], right: list[float]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for expected, status, body in bodies:
        answer = json.loads(body)
        boxes = [x for box in answer.get("boxes", []) for x in (*box["box_xyxy"], 100 * box["objectness"])]
        right += [] if right else boxes  # several photos together are summed in another order: nearly equal
        same = len(boxes) == len(right) and all(abs(x - y) < 0.1 for x, y in zip(boxes, right, strict=True))
        name = ("boxes" if same else "other boxes") if status == 200 else answer["error"]["name"]
        counts[name if name == expected else f"{name} WRONG for {expected}"] += 1
    return counts


def crowd(options: argparse.Namespace) -> None:
    """One client alone, many, and one alone again."""
    photo, right = options.photo.read_bytes(), list[float]()
    bad = {"damaged_image": photo[:60], "not_an_image": b"no", "too_large": b"\x89PNG\r\n\x1a\n" + HUGE}
    sent = [each for name in bad for each in (("boxes", photo), (name, bad[name]))]
    for clients, each in ((1, options.alone), (options.clients, options.each), (1, options.alone)):
        asyncio.run(phase(options, sent, right, clients, each))


async def phase(
    options: argparse.Namespace, sent: list[tuple[str, bytes]], right: list[float], clients: int, each: int
) -> None:
    found: Any = defaultdict(list)
    begun = time.perf_counter()
    mine = [[sent[turn % 6] for turn in range(number, number + each)] for number in range(clients)]
    await asyncio.gather(*(client(options.where, contents, found) for contents in mine))
    print(f"{clients} x {each}: {time.perf_counter() - begun:.1f} s; {dict(check(found.pop('bodies'), right))}")
    for what, times in found.items():
        p50, p99 = (statistics.quantiles(times * 2, n=100)[each] for each in (49, 98))
        print(f"  {what}: {len(times)}, median {p50:.3f} s, p99 {p99:.3f} s, most {max(times):.3f} s", flush=True)
    if options.pid:  # as Linux counts them: pages of 4 KiB, hundredths of a second
        pages, used = (Path(f"/proc/{options.pid}/{name}").read_text().split() for name in ("statm", "stat"))
        print(
            f"  the server: {int(pages[1]) / 256:.0f} MiB, {(int(used[13]) + int(used[14])) / 100:.1f} s of processors"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("where", help="HOST:PORT")
    parser.add_argument("photo", type=Path)
    for name, default in (("--clients", 200), ("--each", 5), ("--alone", 200), ("--pid", None)):
        parser.add_argument(name, type=int, default=default)
    crowd(parser.parse_args())


if __name__ == "__main__":
    main()
