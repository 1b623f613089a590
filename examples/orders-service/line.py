"""The line between clients and the service: shares requests out, and can be cut.

    line.py --listen PORT --to PORT,PORT... [--cut SHARE] [--seed NUMBER]

It sends each request to one of the processes, to the next where one does not listen.  It loses
a share of them by closing the client's connection, half of these before the request has reached the
service, half when the answer is there; and those that say so: Cut-The-Line: request, or answer.
"""

import argparse
import asyncio
import random

HEAD_LIMIT = 32 * 1024
BODY_LIMIT = 256 * 1024
TIMEOUT = 60


async def read_message(reader):
    """The head and the body of a request; what is too long or chunked is for real proxies."""
    head = await reader.readuntil(b"\r\n\r\n")
    fields = {}
    for line in head.split(b"\r\n")[1:-2]:
        name, _, value = line.partition(b":")
        fields[name.strip().lower()] = value.strip()
    length = fields.get(b"content-length", b"0")
    if b"transfer-encoding" in fields or not length.isdigit() or int(length) > BODY_LIMIT:
        raise ValueError
    return head, fields, await reader.readexactly(int(length))


def plain(status):
    body = b'{"type": "about:blank", "title": "%s", "status": %s}' % (status[4:], status[:3])
    return (b"HTTP/1.1 %s\r\nContent-Type: application/problem+json\r\nContent-Length: %d\r\nRetry-After: 1\r\n"
            b"Connection: close\r\n\r\n%s" % (status, len(body), body))


class Line:
    def __init__(self, ports, share, seed):
        self.ports = ports
        self.share = share
        self.random = random.Random(seed)

    async def connect(self):
        self.ports.append(self.ports.pop(0))
        for port in list(self.ports):
            try:
                return await asyncio.open_connection("127.0.0.1", port, limit=HEAD_LIMIT)
            except OSError:
                continue
        return None

    def cut_where(self, fields):
        where = fields.get(b"cut-the-line", b"").decode("latin-1")
        if not where and self.random.random() < self.share:
            where = self.random.choice(["request", "answer"])
        return where

    async def pass_on(self, head, body):
        """The whole answer of a process; None where it died meanwhile."""
        service = await self.connect()
        if service is None:
            return plain(b"503 Service Unavailable")
        reader, writer = service
        try:
            # a connection for each request: so an answer ends where its connection does
            lines = [line for line in head[:-4].split(b"\r\n")
                     if line.partition(b":")[0].strip().lower() not in (b"connection", b"cut-the-line")]
            writer.write(b"\r\n".join(lines + [b"Connection: close", b"", b""]) + body)
            await writer.drain()
            answer = await asyncio.wait_for(reader.read(-1), TIMEOUT)
            head, end, rest = answer.partition(b"\r\n\r\n")
            for line in head.split(b"\r\n")[1:]:
                name, _, value = line.partition(b":")
                if name.lower() == b"content-length" and len(rest) < int(value):
                    return None
            return answer if end else None
        except (OSError, asyncio.TimeoutError):
            return None
        finally:
            writer.close()

    async def serve(self, reader, writer):
        try:
            head, fields, body = await read_message(reader)
            where = self.cut_where(fields)
            if where != "request":
                answer = await self.pass_on(head, body)
                if answer is not None and where != "answer":
                    writer.write(answer)
                    await writer.drain()
        except (ValueError, asyncio.LimitOverrunError):
            writer.write(plain(b"400 Bad Request"))
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--listen", type=int, required=True)
    parser.add_argument("--to", required=True)
    parser.add_argument("--cut", type=float, default=0)
    parser.add_argument("--seed", type=int)
    options = parser.parse_args()
    line = Line([int(port) for port in options.to.split(",")], options.cut, options.seed)
    server = await asyncio.start_server(line.serve, "127.0.0.1", options.listen, limit=HEAD_LIMIT)
    async with server:
        await server.serve_forever()


try:
    asyncio.run(main())
except KeyboardInterrupt:
    pass
