"""The client against a real broker: `python3 test_message_queue.py PORT [TEST …]`. `tests/tests/python.rs` runs it.

The broker is in queue mode, and a topic has room for 1,000 messages. `what_was_refused_is_told_again` is run by its name
alone: its broker has room for one message, and refuses others.
"""

import asyncio
import sys

from message_queue import CONFIRMED, FAILED, PING, PONG, REJECT, RETURN, Consumer, Producer, Refused

HOST, PORT = "127.0.0.1", int(sys.argv[1])


def cut(client):
    """The connection is gone, as if a cable had been pulled."""
    client.connection.writer.transport.abort()


async def take(consumer, count):
    taken = []
    async for message in consumer:
        taken.append(message)
        if len(taken) == count:
            return taken


async def produce_with_confirms():
    events = []
    async with Producer(HOST, PORT, topic="confirms", on_event=lambda *event: events.append(event)) as producer:
        futures = [await producer.send(b"%d" % number) for number in range(500)]
        await producer.flush()
        assert all(future.done() and future.exception() is None for future in futures)
    assert events[-2] == ("confirmed", 500, 0), events[-3:]
    async with Consumer(HOST, PORT, topic="confirms", prefetch=7) as consumer:
        for number, message in enumerate(await take(consumer, 7)):
            assert (message.body, message.sequence, message.attempt) == (b"%d" % number, number + 1, 1)
            assert consumer.settle(message) and not consumer.settle(message)
        assert [it.body for it in await take(consumer, 2)] == [b"7", b"8"]


async def a_producer_that_waits_for_room():
    blocked = asyncio.Event()

    def on_event(name, *details):
        if name == "blocked" and details == (True, "topic full, group queue: full"):
            blocked.set()

    async with Producer(HOST, PORT, topic="full", window=2000, on_event=on_event) as producer:
        last = [await producer.send(b"x") for _ in range(1001)][-1]
        await blocked.wait()
        assert not last.done()
        async with Consumer(HOST, PORT, topic="full") as consumer:
            consumer.settle((await take(consumer, 1))[0])
            await last


async def a_named_producer_resumes():
    cuts = 0
    async with Producer(HOST, PORT, topic="resume", name="p", session="1") as producer:
        for number in range(900):
            await producer.send(b"%d" % number)
            if number % 100 == 50:
                connection = producer.connection
                cut(producer)
                cuts += 1
                # Some are sent while there is no connection.
                for more in range(3):
                    await producer.send(b"%d+%d" % (number, more))
                await producer.wait_for(lambda: producer.connection not in (None, connection))
        await producer.flush()
        assert producer.next == 900 + 3 * cuts + 1
    sent = []
    for number in range(900):
        sent += [b"%d" % number, *(b"%d+%d" % (number, more) for more in range(3) if number % 100 == 50)]
    # The same program once more, in the same session: everything is known.
    async with Producer(HOST, PORT, topic="resume", name="p", session="1") as producer:
        for body in sent:
            assert (await producer.send(body)).done()
        await (await producer.send(b"new"))
    # A new session begins anew.
    async with Producer(HOST, PORT, topic="resume", name="p", session="2") as producer:
        await (await producer.send(b"newer"))
    async with Consumer(HOST, PORT, topic="resume", prefetch=1000) as consumer:
        taken = await take(consumer, len(sent) + 2)
        assert [it.body for it in taken] == [*sent, b"new", b"newer"]
        assert [it.sequence for it in taken] == list(range(1, len(sent) + 3))
        for message in taken:
            consumer.settle(message)


async def a_second_producer_takes_the_name_over():
    async with Producer(HOST, PORT, topic="names", name="p") as first:
        await (await first.send(b"1"))
        async with Producer(HOST, PORT, topic="names", name="p") as second:
            await first.wait_for(lambda: first.failure)
            assert first.failure.code == "taken_over", first.failure
            assert (await second.send(b"1")).done()
            await (await second.send(b"2"))
        try:
            await first.send(b"3")
            raise AssertionError("it was taken over")
        except Refused:
            return


async def what_was_refused_is_told_again():
    heard = asyncio.Event()
    async with Producer(HOST, PORT, topic="rejects", name="p") as producer:
        await (await producer.send(b"taken"))
        handle, producer.handle = producer.handle, lambda kind, fields: kind == CONFIRMED and heard.set()
        refused = await producer.send(b"refused")
        # The link breaks when the broker has said it, and before the producer has read it.
        await heard.wait()
        producer.handle = handle
        cut(producer)
        await asyncio.wait([refused])
        assert refused.exception().code == "full"
    # The same program once more.
    async with Producer(HOST, PORT, topic="rejects", name="p") as producer:
        taken, refused = [await producer.send(body) for body in (b"taken", b"refused")]
        assert taken.done() and taken.exception() is None
        assert refused.done() and refused.exception().code == "full"


async def acknowledgements():
    async with Producer(HOST, PORT, topic="acks") as producer:
        for body in (b"done", b"returned", b"failed", b"rejected"):
            await producer.send(body)
    async with Consumer(HOST, PORT, topic="acks") as consumer:
        done, returned, failed, rejected = await take(consumer, 4)
        consumer.settle(done)
        consumer.settle(failed, FAILED, 0.05)
        consumer.settle(returned, RETURN)
        consumer.settle(rejected, REJECT)
        again = await take(consumer, 2)
        assert [(it.body, it.sequence, it.attempt) for it in again] == [(b"returned", 2, 2), (b"failed", 3, 2)], again
        for message in again:
            consumer.settle(message)
    async with Consumer(HOST, PORT, topic="acks.dead") as consumer:
        dead, = await take(consumer, 1)
        assert (dead.body, dead.origin) == (b"rejected", ("acks", "queue", 4, "rejected")), dead
        consumer.settle(dead)


async def what_a_dead_consumer_held_comes_again():
    async with Producer(HOST, PORT, topic="deaths") as producer:
        for number in range(10):
            await producer.send(b"%d" % number)
    async with Consumer(HOST, PORT, topic="deaths", workers=2) as consumer:
        first = await take(consumer, 10)
        consumer.settle(first[4])
        old = consumer.connection
        cut(consumer)
        second = await take(consumer, 9)
        assert consumer.connection is not old
        # The two that it worked on have failed, and may come a little later.
        assert sorted(it.sequence for it in second) == [1, 2, 3, 4, 6, 7, 8, 9, 10], second
        assert [it.sequence for it in second if it.sequence > 2] == [3, 4, 6, 7, 8, 9, 10], second
        assert {it.attempt for it in second} == {2}
        assert not consumer.settle(first[0])
        for message in second:
            if message.sequence in (3, 4, 6, 7, 8):
                consumer.settle(message)
    # It left with BYE: nothing has failed.
    async with Consumer(HOST, PORT, topic="deaths") as consumer:
        third = await take(consumer, 4)
        assert sorted(it.sequence for it in third) == [1, 2, 9, 10], third
        for message in third:
            consumer.settle(message)


async def a_pattern_and_a_group():
    async with Consumer(HOST, PORT, topic="gpu.>", group="store") as consumer:
        for topic in ("gpu.0", "gpu.1.temp"):
            async with Producer(HOST, PORT, topic=topic) as producer:
                await producer.send(topic.encode())
                await producer.send(topic.encode())
        for message in await take(consumer, 4):
            assert message.topic == message.body.decode() and consumer.settle(message)


async def mistakes_are_named():
    for client, code in [
        (Producer(HOST, PORT, topic="a..b"), "bad_option"),
        (Consumer(HOST, PORT, prefetch=0), "bad_option"),
        (Consumer(HOST, PORT, group="g", **{"from": 99}), "no_history"),
        (Consumer(HOST, PORT, speed=9), "unknown_option"),
    ]:
        try:
            async with client:
                raise AssertionError(f"{code} was expected")
        except Refused as refused:
            assert refused.code == code and refused.final, refused


async def say_nothing_but_heartbeats(connection, times):
    """Waits until so many PINGs and PONGs were sent."""
    said, control = asyncio.Queue(), connection.control

    def watched(kind, fields=b""):
        said.put_nowait(kind)
        control(kind, fields)

    connection.control = watched
    for _ in range(times):
        assert await said.get() in (PING, PONG)


async def heartbeats():
    async with Consumer(HOST, PORT, topic="quiet", heartbeat=1) as consumer:
        async with Producer(HOST, PORT, topic="quiet", heartbeat=1) as producer:
            connections = consumer.connection, producer.connection
            # Each goes on for longer than either side waits for a word.
            await asyncio.gather(*(say_nothing_but_heartbeats(it, 5) for it in connections))
            assert connections == (consumer.connection, producer.connection)
            await producer.send(b"still here")
            consumer.settle((await take(consumer, 1))[0])


TESTS = [produce_with_confirms, a_producer_that_waits_for_room, a_named_producer_resumes,
         a_second_producer_takes_the_name_over, acknowledgements, what_a_dead_consumer_held_comes_again,
         a_pattern_and_a_group, mistakes_are_named, heartbeats]


ALONE = [what_was_refused_is_told_again]


async def main(names):
    for test in [*TESTS, *ALONE]:
        if test.__name__ in names or (not names and test in TESTS):
            await asyncio.wait_for(test(), 60)
            print(f"{test.__name__}: ok", flush=True)


asyncio.run(main(sys.argv[2:]))
