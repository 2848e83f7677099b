"""A router as many are: it looks at the first record, in the first bytes that come, and no further.

    python first_record_router.py PORT DEFAULT [NAME=ADDRESS …]

It takes a hello that is cut for one without a name, compares names as they come, and checks no length that
it does not need. A conformance suite has to find it out.
"""

from __future__ import annotations

import asyncio
import sys


def server_name(data: bytes) -> str | None:
    try:
        at = 5 + 4 + 2 + 32
        at += 1 + data[at]
        at += 2 + int.from_bytes(data[at : at + 2])
        at += 1 + data[at]
        at += 2
        end = min(len(data), 5 + int.from_bytes(data[3:5]))
        while at + 4 <= end:
            kind, size = int.from_bytes(data[at : at + 2]), int.from_bytes(data[at + 2 : at + 4])
            if kind == 0:
                return data[at + 9 : at + 4 + size].decode()
            at += 4 + size
    except (IndexError, UnicodeDecodeError):
        pass
    return None


async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65_536):
            writer.write(data)
        writer.write_eof()
    except OSError:
        writer.close()


async def main(port: str, default: str, *names: str) -> None:
    routes = dict(name.split("=") for name in names)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            first = await asyncio.wait_for(reader.read(65_536), 1)
            host, _, port = routes.get(server_name(first) or "", default).partition(":")
            upstream_reader, upstream_writer = await asyncio.open_connection(host, int(port))
            upstream_writer.write(first)
            async with asyncio.TaskGroup() as both:
                both.create_task(carry(reader, upstream_writer))
                both.create_task(carry(upstream_reader, writer))
            upstream_writer.close()
        except (OSError, TimeoutError):
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", int(port), backlog=1000) as server:
        print("ready", flush=True)
        await server.serve_forever()


asyncio.run(main(*sys.argv[1:]))
