"""A client of message-queue in one file: wire version 2, as docs/PROTOCOL.md has it. Python 3.9 or later."""

import asyncio
import random
import struct
import time
from collections import deque, namedtuple
from contextlib import suppress
from urllib.parse import quote, unquote

TOPIC, PING, PONG, FLUSHED, ERROR, GOAWAY, BYE = 0x01, 0x02, 0x03, 0x05, 0x06, 0x07, 0x08
CONFIRMED, REFUSED, BLOCKED, RUN, GAP, ORIGIN, REVOKED = 0x10, 0x11, 0x12, 0x20, 0x21, 0x22, 0x23
KNOWN = {TOPIC, PONG, FLUSHED, GOAWAY, CONFIRMED, REFUSED, BLOCKED, RUN, GAP, ORIGIN, REVOKED}
SETTLE, CREDIT, DONE, RETURN, FAILED, REJECT, WORKING = 0x30, 0x31, 1, 2, 3, 4, 5
CONTROL, MAX_CONTROL, MAX_MESSAGE = 1 << 31, 65_536, 1_048_576
FINAL = set("unsupported_version unknown_option bad_option unknown_topic group_mismatch no_history bad_frame "
            "bad_position unexpected_data frame_too_large taken_over unauthorized forbidden".split())


class Refused(Exception):
    """The broker said no, with a code and a text; `final` if it would say so again."""

    def __init__(self, reason):
        super().__init__(reason)
        self.code, self.final = (code := reason.split(" ")[0]), code in FINAL


class Connection:
    """One connection: its role line and answer, frames in and out, heartbeats."""

    writer = None

    async def open(self, host, port, tls, role, options):
        self.buffer, (self.reader, self.writer) = bytearray(), await asyncio.open_connection(host, port, ssl=tls)
        pairs = ((key, quote(str(value), safe="!$&()*+,-./:;<=>?@[]^_{|}~")) for key, value in options.items())
        self.write("".join([f"{role} v=2", *(f" {key}={value}" for key, value in pairs), "\n"]).encode())
        line = (await asyncio.wait_for(self.reader.readuntil(b"\n"), 30)).decode().rstrip("\r\n")
        if not line.startswith("OK "):
            raise Refused(line.removeprefix("ERROR "))
        self.answer = {key: unquote(value) for key, _, value in (it.partition("=") for it in line.split(" ")[1:])}
        self.heard, heartbeat = time.monotonic(), int(self.answer["heartbeat"])
        self.watch = heartbeat and asyncio.create_task(self.watch_over(heartbeat))

    async def watch_over(self, heartbeat):
        while not self.writer.is_closing() and time.monotonic() < self.heard + 2 * heartbeat:
            if time.monotonic() >= self.sent + heartbeat:
                self.control(PING, struct.pack(">Q", int(time.monotonic())))
            await asyncio.sleep(heartbeat / 10)
        self.writer.transport.abort()

    def write(self, data):
        self.sent = time.monotonic()
        self.writer.write(data)

    def message(self, body):
        self.write(struct.pack(">I", len(body)) + body)

    def control(self, kind, fields=b""):
        self.write(struct.pack(">IB", CONTROL | 1 + len(fields), kind) + fields)

    async def take(self, size):
        while len(self.buffer) < size:
            data = await self.reader.read(1 << 18)
            if not data:
                raise ConnectionError("the stream ended")
            self.heard = time.monotonic()
            self.buffer += data
        data = bytes(self.buffer[:size])
        del self.buffer[:size]
        return data

    async def receive(self):
        """The next frame: its kind, None for a message, and its body. PING is answered here, ERROR raised."""
        while True:
            header, = struct.unpack(">I", await self.take(4))
            length = header & ~CONTROL
            if length > (MAX_CONTROL if header & CONTROL else MAX_MESSAGE) or header == CONTROL:
                raise Refused("bad_frame from the broker: its length")
            body = await self.take(length)
            if not header & CONTROL:
                return None, body
            kind, fields = body[0], body[1:]
            if kind == PING:
                self.control(PONG, fields[:8])
            elif kind == ERROR:
                raise Refused(fields.decode())
            elif kind in KNOWN:
                return kind, fields
            elif kind < 0x80:
                raise Refused(f"bad_frame from the broker: the kind {kind:02x}")


class Client:
    """What producer and consumer share: a task that keeps up a connection, however often it ends."""

    def __init__(self, host, port, on_event=None, tls=None, **options):
        self.host, self.port, self.tls, self.on_event = host, port, tls, on_event or (lambda name, *details: None)
        self.options = {key: value for key, value in options.items() if value is not None}
        self.connection = self.failure = self.ever = None
        self.going_away = self.leaving = False
        self.changed = asyncio.Condition()

    async def wait_for(self, condition):
        async with self.changed:
            await self.changed.wait_for(lambda: condition() or self.failure)
        if self.failure and not condition():
            raise self.failure

    async def tell(self):
        async with self.changed:
            self.changed.notify_all()

    async def __aenter__(self):
        self.task = asyncio.create_task(self.run())
        await self.wait_for(lambda: self.connection)
        return self

    async def __aexit__(self, error, *_):
        if error is None:
            await self.leave()
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    async def run(self):
        tries = 0
        while not self.failure:
            connection, wait = Connection(), min(0.1 * 2 ** tries, 30) * random.uniform(0.5, 1)
            try:
                await connection.open(self.host, self.port, self.tls, self.role, self.options)
                tries, self.going_away = -1, False
                await self.begin(connection)
                self.connection = self.ever = connection
                while True:
                    await self.tell()
                    kind, fields = await connection.receive()
                    if kind == GOAWAY:
                        self.going_away, wait = True, struct.unpack_from(">II", fields)[1] / 1000
                        self.on_event("goaway", wait)
                    self.handle(kind, fields)
            except (Refused, OSError, EOFError, asyncio.TimeoutError) as error:
                final = self.leaving or not self.ever and hasattr(error, "verify_code")  # not trusted, in TLS
                self.failure = error if getattr(error, "final", final) else None
                self.on_event("ended", error)
            except Exception as error:  # a mistake, here or in `on_event`: nobody is to wait for ever
                self.failure = error
            finally:
                self.connection = None
                if connection.writer:
                    connection.writer.close()
            self.end()
            await self.tell()
            tries += 1
            if not self.failure:
                await asyncio.sleep(wait)


class Producer(Client):
    """Sends messages. Each is kept until it is confirmed, and sent again on the next connection if it is not.
    With a `name` it then enters its topic exactly once, without one perhaps twice. A program that starts again takes
    another `session`, unless it sends the same messages in the same order again."""
    role = "PRODUCER"

    def __init__(self, host, port, topic=None, name=None, session=None, window=1000, **options):
        super().__init__(host, port, topic=topic, producer=name, session=session, confirm=1, **options)
        self.name, self.window, self.unconfirmed, self.next, self.accepted = name, window, deque(), 1, 0

    async def begin(self, connection):
        self.refused = [await connection.receive() for _ in range(int(connection.answer.get("refused", 0)))]
        self.accepted = int(connection.answer["accepted"])
        self.confirm(self.accepted, self.refused)
        self.unconfirmed = deque(it for it in self.unconfirmed if not it[2].done() or it[2].cancelled())
        lost = self.options.get("at", 1) - 1 - self.accepted
        if lost > 0:
            self.on_event("lost", lost)
        if lost > 0 or self.unconfirmed or not self.name:  # positions go on behind what the broker has
            self.next = self.accepted + 1 + len(self.unconfirmed)
        for place, entry in enumerate(self.unconfirmed, self.accepted + 1):
            entry[0] = place
            connection.message(entry[1])

    def confirm(self, position, refused=()):
        for frame in refused:  # on earlier connections; all else is safe
            self.handle(*frame)
        while self.unconfirmed and self.unconfirmed[0][0] <= position:
            future = self.unconfirmed.popleft()[2]
            if not future.done():
                future.set_result(None)

    def handle(self, kind, fields):
        if kind == CONFIRMED:
            position, unrouted = struct.unpack_from(">QQ", fields)
            self.confirm(position)
            self.on_event("confirmed", position, unrouted)
        elif kind == REFUSED:
            self.fail(Refused(fields[16:].decode()), *struct.unpack_from(">QQ", fields))
        elif kind == BLOCKED:
            self.on_event("blocked", fields[0] == 1, fields[1:].decode())

    def fail(self, error, first=0, last=1 << 63):
        for position, _, future in self.unconfirmed:
            if first <= position <= last and not future.done():
                future.set_exception(error)

    def end(self):
        if self.name:
            self.options["at"] = self.unconfirmed[0][0] if self.unconfirmed else self.next
        if self.failure:
            self.fail(self.failure)

    async def send(self, body):
        """Hands a message over when the window has room. Returns a future that tells what became of it."""
        if len(body) > MAX_MESSAGE:
            raise ValueError(f"a message of {len(body)} bytes; allowed: {MAX_MESSAGE}")
        await self.wait_for(lambda: len(self.unconfirmed) < self.window and not self.failure)
        future, position = asyncio.get_running_loop().create_future(), self.next
        self.next += 1
        self.unconfirmed.append([position, body, future])
        if position <= self.accepted:  # an earlier run of this session has sent it
            self.confirm(self.accepted, self.refused)
        elif self.connection and not self.going_away:
            self.connection.message(body)
            with suppress(OSError):  # it is sent again on the next connection
                await self.connection.writer.drain()
        return future

    async def flush(self):
        """Waits until every message is confirmed or refused."""
        await self.wait_for(lambda: not self.unconfirmed)

    async def leave(self):
        await self.flush()
        self.leaving = True
        if writer := self.connection and self.connection.writer:
            writer.write_eof() if writer.can_write_eof() else writer.close()  # TLS has no half of an end
            await asyncio.wait([self.task], timeout=5)


# For a dead letter `origin` is the topic, the group that gave up, the sequence and the reason; else None.
Message = namedtuple("Message", "body topic sequence published attempt origin position")


class Consumer(Client):
    """Receives messages: iterate over it. Each is this consumer's until it is settled or the connection ends."""
    role = "CONSUMER"

    def __init__(self, host, port, topic=None, group=None, prefetch=100, **options):
        super().__init__(host, port, topic=topic, group=group, ack=1, prefetch=prefetch, **options)
        self.waiting, self.held = deque(), {}

    async def begin(self, connection):
        self.topic, self.origin, self.position = connection.answer.get("topic"), None, 0

    def end(self):
        self.held.clear()  # it is handed out again

    def handle(self, kind, fields):
        if kind is None:
            self.position += 1
            message = Message(fields, self.topic, *self.run_of, self.origin, self.position)
            self.run_of, self.origin = (self.run_of[0] + 1, *self.run_of[1:]), None
            self.held[self.position] = message
            self.waiting.append(message)
        elif kind == TOPIC:
            self.topic = fields.decode()
        elif kind == RUN:
            self.run_of = struct.unpack_from(">QQI", fields)
        elif kind == GAP:
            self.on_event("gap", *struct.unpack_from(">QQ", fields), fields[16:].decode())
        elif kind == ORIGIN:
            sequence, _, _, size = struct.unpack_from(">QIQH", fields)
            topic, rest = fields[22:22 + size].decode(), fields[22 + size:]
            end = 2 + struct.unpack_from(">H", rest)[0]
            self.origin = (topic, rest[2:end].decode(), sequence, rest[end:].decode())
        elif kind == REVOKED:
            for first, last in struct.iter_unpack(">QQ", fields[1 + fields[0]:]):
                for position in [it for it in self.held if first <= it <= last]:
                    self.on_event("revoked", self.held.pop(position))

    async def __aiter__(self):
        while True:
            await self.wait_for(lambda: self.waiting)
            message = self.waiting.popleft()
            if self.held.get(message.position) is message:
                yield message

    def settle(self, message, outcome=DONE, delay=0):
        """Tells what became of a message; the delay is in seconds. Returns whether it still was this consumer's."""
        if self.held.get(message.position) is not message:
            return False
        if outcome != WORKING:
            del self.held[message.position]
        self.connection.control(SETTLE, struct.pack(">BIQQ", outcome, int(delay * 1000), *[message.position] * 2))
        return True

    async def leave(self):
        self.leaving = True
        if self.connection:
            self.connection.control(CREDIT, bytes(8))
            self.connection.control(BYE)
            await asyncio.wait([self.task], timeout=5)
