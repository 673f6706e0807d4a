"""Inside a sandbox, before the command: what lets it use the network it was given.

    python -I -S doorway.py '<JSON>' COMMAND...

`socket` and `port`: whoever connects to that port of the sandbox's own loopback is joined to the Unix socket behind which
core/compute/outlet.py decides. `cache` and `to`: the Hub's cache, which is read-only here, is seen again in a cache of the
sandbox's own by links, so that what is there need not be fetched and what is not can be. Standard library only. All of it
runs confined: whatever the code does to it, it does to itself.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import sys

CHUNK = 1 << 16
BACKLOG = 1024


def main(argv: list[str]) -> None:
    told, command = json.loads(argv[1]), argv[2:]
    if told.get("cache") and not os.listdir(told["to"]):  # not again where the job goes on
        link_cache(told["cache"], told["to"])
    if told.get("socket"):
        listener = socket.create_server(("127.0.0.1", told["port"]), backlog=BACKLOG)
        # Twice, so that it is a child of the sandbox's first process, not one that the command would have to wait for.
        child = os.fork()
        if child == 0:
            if os.fork() == 0:
                serve(listener, told["socket"])
            os._exit(0)
        os.waitpid(child, 0)
        listener.close()
    try:
        os.execvp(command[0], command)
    except OSError as error:
        sys.exit(f"cannot start {command[0]}: {error}")


def link_cache(cache: str, to: str) -> None:
    """The same folders, with links to the same files; links stay as they are, notes of revisions are copied (the client
    writes them anew). What cannot be read or linked is not there, and is fetched."""
    for folder, below, files in os.walk(cache):
        below[:] = [n for n in below if n != ".locks"]
        inside = os.path.join(to, os.path.relpath(folder, cache))
        os.makedirs(inside, exist_ok=True)
        for name in [*files, *(n for n in below if os.path.islink(os.path.join(folder, n)))]:
            there, here = os.path.join(folder, name), os.path.join(inside, name)
            with contextlib.suppress(OSError):
                if os.path.islink(there):
                    os.symlink(os.readlink(there), here)
                elif f"{os.sep}refs" in folder[len(cache) :]:
                    shutil.copyfile(there, here)
                else:
                    os.symlink(there, here)


def serve(listener: socket.socket, way: str) -> None:
    """Until the sandbox ends. Nothing of the command is held open: its output must be able to end."""
    import asyncio  # only here: the command does not wait for its import

    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)

    joined: set[asyncio.Task[None] | None] = set()  # or one whose client has closed its half would be collected

    async def join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        joined.add(me := asyncio.current_task())
        ends = [writer]
        try:
            from_outside, to_outside = await asyncio.open_unix_connection(way, limit=4 * CHUNK)
            ends.append(to_outside)
            await asyncio.gather(pump(reader, to_outside), pump(from_outside, writer))
        except OSError:
            pass  # one end is gone: so is the other
        finally:
            joined.discard(me)
            for end in ends:
                end.close()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()

    async def run() -> None:
        server = await asyncio.start_server(join, sock=listener, backlog=BACKLOG, limit=4 * CHUNK)
        await server.serve_forever()

    asyncio.run(run())


if __name__ == "__main__":
    main(sys.argv)
