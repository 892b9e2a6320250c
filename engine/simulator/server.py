"""The simulated gateway on a real loopback socket: HTTP in, HTTP out, and every way in which a network fails."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import cast

from aiohttp import web

from engine.simulator import replies
from engine.simulator.books import Books
from engine.simulator.calls import DOORS, Door, Gateway, Parameters, in_shape
from engine.simulator.faults import Drawn
from engine.simulator.form import parameters as read_parameters
from engine.simulator.replies import Reply
from engine.simulator.settings import Fault, SimulatorSettings, changed
from engine.simulator.state import StateFile

LINGER_ZERO = struct.pack("ii", 1, 0)  # close() then sends RST in place of FIN
BACKLOG = 1024
RESET_INSTEAD_OF_ANSWER = (Fault.RESET_BEFORE, Fault.DROP_ANSWER, Fault.SHORT_AND_DROP)
TAKEN_PAGES = {Fault.HTTP_403_TAKEN: replies.FORBIDDEN, Fault.HTTP_500_TAKEN: replies.SERVER_ERROR}
FORM = "application/x-www-form-urlencoded"
OLDEST_S = 1e9  # of planted reports: older ones would have times that cannot be written


class Simulator:
    """A gateway on loopback with one account. Start it, send to `url`, and compare with `truth()`.

    `async with Simulator(settings) as sim:` starts and stops it. Started again it has its books and its port still.
    With a state file, start() reads what happened before and goes on from there, in this or in another process.
    """

    def __init__(
        self,
        settings: SimulatorSettings | None = None,
        *,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """The clocks, in seconds, are this machine's, or a test's."""
        self._wall, self._monotonic = wall, monotonic
        self._gateway = Gateway(settings or SimulatorSettings(), wall=wall, monotonic=monotonic)
        self._state: StateFile | None = None
        self._stopping = asyncio.Event()
        self._waiters: list[_Waiter] = []
        self._busy: set[web.RequestHandler] = set()
        self._port: int | None = None
        self._holder: socket.socket | None = None
        self._listener: asyncio.Server | None = None
        self._http: web.Server | None = None
        self._reopening: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Simulator:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    # -- what tests and commands use -----------------------------------------------------------------------------

    @property
    def settings(self) -> SimulatorSettings:
        """The settings that hold now."""
        return self._gateway.settings

    @property
    def port(self) -> int:
        """The port. It stays the same while connections are refused and after a stop. RuntimeError before start."""
        if self._port is None:
            raise RuntimeError("the simulator has not been started")
        return self._port

    @property
    def url(self) -> str:
        """The base address, without a path."""
        host = self.settings.host
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    def truth(self, *, detail: bool = True) -> dict[str, object]:
        """What was really accepted and charged; the same as `GET /_simulator/truth`."""
        return self._gateway.truth(detail=detail)

    def set_faults(self, faults: Mapping[str, float]) -> None:
        """These faults from the next request on, and no others."""
        self.change({"faults": dict(faults)})

    def change(self, changes: Mapping[str, object]) -> None:
        """Change settings while running. Raises ValueError for unknown, fixed or impossible ones."""
        self._gateway.change(changed(self.settings, changes))

    def top_up(self, points: int) -> None:
        """Add points, as a payment does."""
        self._open_gateway().points.top_up(points)

    def spend(self, points: int) -> None:
        """Take points, as another user of the account does."""
        self._open_gateway().points.spend(points)

    def plant_reports(
        self, mobiles: Iterable[str], *, task_id: int | str | None = None, age_s: float = 86_400.0
    ) -> None:
        """Unread reports of an older sending: the next poll has them. Without a task id it is the one before our first."""
        self._open_gateway().plant_reports(mobiles, task_id=task_id, age_s=age_s)

    def told(self, mobile: str) -> list[str | None]:
        """The texts that a number was sent, in their order; the same as `GET /_simulator/told?mobile=NUMBER`.

        None for one that is not among the first thousand different texts.
        """
        return self._open_gateway().books.told(mobile)

    def plant_uplink(self, mobile: str, content: str) -> None:
        """A person replies: the next poll of uplinks has it."""
        self._open_gateway().plant_uplink(mobile, content)

    def _open_gateway(self) -> Gateway:
        """The gateway, where an order is sure to be kept. Raises RuntimeError when it would not be."""
        if self.settings.state and self._state is None:
            raise RuntimeError("a simulator that keeps its state takes orders only while it runs")
        return self._gateway

    async def wait_for_requests(self, count: int) -> None:
        """Return once `count` send requests have arrived and what they come to at once is in the books."""
        await self._wait_for(lambda books: len(books.sends) >= count)

    async def wait_for_accepted(self, numbers: int) -> None:
        """Return once `numbers` numbers have been accepted, whether anybody was told or not."""
        await self._wait_for(lambda books: books.accepted >= numbers)

    async def _wait_for(self, condition: Callable[[Books], bool]) -> None:
        waiter = _Waiter(condition=condition, reached=asyncio.Event())
        self._waiters.append(waiter)
        try:
            self._tell_waiters()
            await waiter.reached.wait()
        finally:
            self._waiters.remove(waiter)

    # -- life ----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Listen. Raises OSError when the port or the state file is taken, ValueError for the state of another account."""
        settings = self.settings
        self._open_state()
        self._stopping.clear()
        self._http = web.Server(
            self._handle,
            request_factory=partial(_request, settings.max_body_bytes),
            access_log=None,
            keepalive_timeout=settings.keepalive_s,
        )
        # The holder is bound and never listens: it keeps the port ours while the listener is closed for a refusal, and
        # keeps the kernel from giving the port to a client, who would then be connected to itself.
        try:
            self._holder = self._bound(self._port or settings.port)
            self._port = self._holder.getsockname()[1]
            await self._listen()
        except BaseException:  # closed, then raised on
            self._let_go()
            raise

    async def stop(self) -> None:
        """Stop at once: hanging answers are cut. Safe to call twice."""
        self._stopping.set()
        if self._reopening is not None:
            self._reopening.cancel()
            await asyncio.wait([self._reopening])
            self._reopening = None
        self._close_listener()
        if self._http is not None:
            self._http.pre_shutdown()
            await self._http.shutdown(timeout=0.2)
            self._http = None
        self._let_go()

    def _let_go(self) -> None:
        if self._holder is not None:
            self._holder.close()
            self._holder = None
        if self._state is not None:
            self._state.close()
            self._state = None

    def _open_state(self) -> None:
        if not self.settings.state:
            return
        state = StateFile(self.settings.state)
        try:
            self._gateway = Gateway(
                self.settings, wall=self._wall, monotonic=self._monotonic, events=state.events(), log=state.append
            )
        except BaseException:
            state.close()
            raise
        self._state = state

    def _bound(self, port: int) -> socket.socket:
        host = self.settings.host
        bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind((host, port))
        except OSError:
            bound.close()
            raise
        return bound

    async def _listen(self) -> None:
        listening = self._bound(self.port)
        try:
            listening.listen(BACKLOG)
            listening.setblocking(False)
            loop = asyncio.get_running_loop()
            self._listener = await loop.create_server(self._new_connection, sock=listening, backlog=BACKLOG)
        except BaseException:
            listening.close()
            raise

    def _close_listener(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def _new_connection(self) -> asyncio.Protocol:
        assert self._http is not None
        return _Slammed() if self._gateway.draws.connection_is_reset() else self._http()

    def _refuse_for_a_while(self) -> None:
        """Close the listener and every connection, the busy ones after their answer; listen again after `refuse_s`."""
        if self._reopening is not None or self._stopping.is_set():
            return
        self._close_listener()
        for connection in self._http.connections if self._http is not None else ():
            # close() alone would leave an idle connection open and deaf: its client would wait for ever.
            connection.close() if connection in self._busy else connection.force_close()
        self._reopening = asyncio.create_task(self._reopen(), name="simulator-reopen")

    async def _reopen(self) -> None:
        await asyncio.sleep(self.settings.refuse_s)
        await self._listen()
        self._reopening = None

    # -- one request ---------------------------------------------------------------------------------------------

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self._busy.add(request.protocol)
        try:
            return await self._handled(request)
        finally:
            self._busy.discard(request.protocol)

    async def _handled(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.rel_url.raw_path
        door = DOORS.get("/" + path.lstrip("/").lower())
        if door is None:
            return await self._besides(request, path)
        body = await request.read() if request.body_exists else b""
        form = body if request.content_type == FORM else b""
        parameters = read_parameters(request.rel_url.raw_query_string.encode(), form, door.charset)
        door = in_shape(door, parameters)
        if door.call == "sms" and parameters.get("action", "").lower() == "send":
            return await self._send(request, door, parameters)
        reply = self._gateway.answer(door, parameters)
        await self._pause(0.0)
        return _reset(request) if reply is None else self._response(reply)

    async def _send(self, request: web.BaseRequest, door: Door, parameters: Parameters) -> web.StreamResponse:
        gateway = self._gateway
        plan = gateway.arrive(door, parameters)
        fault = plan.drawn.fault
        if plan.late:
            self._tell_waiters()
            await self._hang()
            reply = gateway.decide(plan)
            self._tell_waiters()
        else:
            reply = gateway.decide(plan)
            self._tell_waiters()
            if fault in (Fault.HANG_ACCEPT, Fault.HANG_LOST):
                await self._hang()
        await self._pause(gateway.draws.jitter(plan.drawn) if self.settings.jitter_s else 0.0)
        if fault is Fault.REFUSE:
            self._refuse_for_a_while()
        return self._out(request, reply, plan.drawn)

    def _out(self, request: web.BaseRequest, reply: Reply | None, drawn: Drawn) -> web.StreamResponse:
        """The answer, as the fault leaves it."""
        fault = drawn.fault
        if reply is None or fault in RESET_INSTEAD_OF_ANSWER:
            return _reset(request)
        if fault in TAKEN_PAGES:
            reply = TAKEN_PAGES[fault]
        if fault is Fault.EMPTY_ANSWER:
            reply = Reply(body=b"", content_type=reply.content_type)
        if fault is Fault.HALF_ANSWER_SHORT:
            reply = Reply(body=reply.body[: len(reply.body) // 2], content_type=reply.content_type)
        if fault is Fault.HALF_ANSWER:
            return _cut(request, reply)
        return self._response(reply)

    def _response(self, reply: Reply) -> web.Response:
        headers = {"Content-Type": reply.content_type, **reply.headers}
        response = web.Response(body=reply.body, status=reply.status, headers=headers)
        if self._listener is None:
            response.force_close()  # the port is refusing: no client may keep a way in
        return response

    def _tell_waiters(self) -> None:
        for waiter in self._waiters:
            if waiter.condition(self._gateway.books):
                waiter.reached.set()

    async def _pause(self, jitter: float) -> None:
        wait_s = self.settings.latency_s + jitter * self.settings.jitter_s
        if wait_s > 0:
            await asyncio.sleep(wait_s)

    async def _hang(self) -> None:
        """Wait `hang_s`, or until the simulator stops."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.settings.hang_s):
                await self._stopping.wait()

    # -- beside the protocol -------------------------------------------------------------------------------------

    async def _besides(self, request: web.BaseRequest, path: str) -> web.StreamResponse:
        match request.method, path:
            case "GET", "/_simulator/truth":
                return _json(self.truth(detail="detail=summary" not in request.query_string))
            case "GET", "/_simulator/told":
                return _json(self.told(request.query.get("mobile", "")))
            case "POST", "/_simulator/settings":
                return await _told(request, self._change_and_pay)
            case "POST", "/_simulator/uplink":
                return await _told(
                    request, lambda order: self.plant_uplink(str(order["mobile"]), str(order["content"]))
                )
            case "POST", "/_simulator/reports":
                return await _told(request, self._plant_reports)
        return self._response(replies.NOT_FOUND)

    def _plant_reports(self, order: dict[str, object]) -> None:
        mobiles, task_id, age_s = order["mobiles"], order.get("task_id"), order.get("age_s", 86_400)
        if not (isinstance(mobiles, list) and all(isinstance(mobile, str) for mobile in mobiles)):
            raise ValueError("mobiles: a list of texts is expected")
        if not (task_id is None or isinstance(task_id, int | str)):
            raise ValueError(f"task_id: {task_id!r} is no number and no text")
        if not (isinstance(age_s, int | float) and abs(age_s) < OLDEST_S):
            raise ValueError(f"age_s: {age_s!r} is no age in seconds")
        self.plant_reports(mobiles, task_id=task_id, age_s=age_s)

    def _change_and_pay(self, order: dict[str, object]) -> None:
        points = {name: order.pop(name, 0) for name in ("top_up", "spend")}
        if not all(type(amount) is int for amount in points.values()):
            raise ValueError("top_up and spend are whole points")
        self.change(order)
        self.top_up(int(str(points["top_up"])))
        self.spend(int(str(points["spend"])))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Waiter:
    """Somebody who waits until the books say something."""

    condition: Callable[[Books], bool]
    reached: asyncio.Event


class _Slammed(asyncio.Protocol):
    """A connection that is reset as soon as it is accepted."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        _abort(transport)


def _request(max_body_bytes: int, *parts: object) -> web.BaseRequest:
    message, payload, protocol, writer, task = parts
    return web.BaseRequest(
        message,  # type: ignore[arg-type]
        payload,  # type: ignore[arg-type]
        protocol,  # type: ignore[arg-type]
        writer,  # type: ignore[arg-type]
        task,  # type: ignore[arg-type]
        asyncio.get_running_loop(),
        client_max_size=max_body_bytes,
    )


def _abort(transport: asyncio.BaseTransport | None) -> None:
    """End a connection with RST."""
    if transport is None or transport.is_closing():
        return
    connected = transport.get_extra_info("socket")
    if connected is not None:
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO)
    cast("asyncio.Transport", transport).abort()  # not isinstance: the transports of uvloop are no asyncio.Transport


def _reset(request: web.BaseRequest) -> web.Response:
    """RST in place of an answer. aiohttp drops the response that must be returned: its connection is gone."""
    _abort(request.transport)
    return web.Response()


def _cut(request: web.BaseRequest, reply: Reply) -> web.Response:
    """Half of the body under the Content-Length of the whole, then FIN."""
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {reply.content_type}\r\nContent-Length: {len(reply.body)}\r\n\r\n"
    transport = request.transport
    if transport is not None and not transport.is_closing():
        transport.write(head.encode() + reply.body[: len(reply.body) // 2])
        transport.close()
    return web.Response()


def _json(value: object, status: int = 200) -> web.Response:
    body = json.dumps(value, ensure_ascii=False).encode()
    return web.Response(body=body, status=status, content_type="application/json")


async def _told(request: web.BaseRequest, act: Callable[[dict[str, object]], None]) -> web.Response:
    """Carry out a JSON order; 400 with the reason when it makes no sense."""
    try:
        act(dict(json.loads(await request.read())))
    except (ValueError, KeyError, TypeError) as problem:
        return _json({"error": str(problem)}, 400)
    return _json({"ok": True})


async def serve(settings: SimulatorSettings, *, announce: Callable[[str], None], stop: asyncio.Event) -> None:
    """Run a simulator until `stop` is set. `announce` is called with its address once it listens."""
    async with Simulator(settings) as simulator:
        announce(simulator.url)
        await stop.wait()
