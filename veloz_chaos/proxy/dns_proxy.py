"""A proxy in front of one DNS server, over UDP and TCP on the same port: questions pass as they came, or are answered
NXDOMAIN, SERVFAIL or not at all. A made-up answer carries no SOA, so that nobody caches it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import dns.exception
import dns.message
import dns.rcode

from veloz_chaos.core.address import split_address
from veloz_chaos.core.effect import LOOK_OPTION, DnsEffect
from veloz_chaos.proxy.faults import Faults, Installed
from veloz_chaos.proxy.spec import ProxySpec, split_upstream
from veloz_chaos.proxy.traffic import Traffic

Observer = Callable[..., None]
#: Seconds that the upstream has for an answer, and how many answers it may owe at once.
PATIENCE, OWED = 5.0, 512
#: How often another port is tried where any will do and TCP's is taken for UDP.
ATTEMPTS = 20


class DnsProxy:
    kind = "dns"

    def __init__(self, spec: ProxySpec, observe: Observer) -> None:
        self.spec, self.listen, self.observe = spec, spec.listen, observe
        self.upstream = split_upstream(spec)
        self.traffic = Traffic()
        self.faults: Faults[DnsEffect] = Faults(self._changed)
        self._busy: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Raises OSError."""
        host, port = split_address(self.spec.listen)
        for attempt in range(ATTEMPTS):
            try:
                await self._listen(host, port)
                return
            except OSError:
                if port or attempt == ATTEMPTS - 1:
                    raise

    async def _listen(self, host: str, port: int) -> None:
        self._server = await asyncio.start_server(self._stream, host, port)
        host, port = self._server.sockets[0].getsockname()[:2]
        try:
            loop = asyncio.get_running_loop()
            self._udp, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self._datagram), (host, port))
        except OSError:
            self._server.close()
            raise
        self.listen = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def stop(self) -> None:
        self._server.close()
        self._udp.close()
        self.faults.clear()
        for task in self._busy:
            task.cancel()

    def _datagram(self, data: bytes, sender: tuple[str, int]) -> None:
        if len(self._busy) < OWED:
            self._keep(asyncio.ensure_future(self._asked(data, sender)))

    async def _asked(self, data: bytes, sender: tuple[str, int]) -> None:
        answer = await self._answered(data, self._over_udp)
        if answer:
            self._udp.sendto(answer, sender)

    async def _stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task:
            self._keep(task)
        self.traffic.open += 1
        try:
            while answer := await self._answered(await _message(reader), self._over_tcp):
                writer.write(len(answer).to_bytes(2, "big") + answer)
                await writer.drain()
            await reader.read()  # silent until the other side gives up
        except (OSError, EOFError, asyncio.CancelledError):
            pass
        finally:
            self.traffic.open -= 1
            writer.transport.abort()

    async def _answered(self, data: bytes, ask: Callable[[bytes], object]) -> bytes | None:
        """A fault's answer, or the upstream's; None for silence."""
        question = _question(data)
        look = question is not None and any(option.otype == LOOK_OPTION for option in question.options)
        self._arrived(look)
        fault = self._fault(question)
        if fault is None or question is None:
            return await self._passed(data, ask, look)
        fault.hits += not look
        self.traffic.answered += not look
        if fault.effect.answer == "none":
            return None
        answer = dns.message.make_response(question, recursion_available=True)
        answer.set_rcode(dns.rcode.from_text(fault.effect.answer))
        return answer.to_wire()

    def _arrived(self, look: bool) -> None:
        if look:
            self.traffic.looks += 1
        else:
            self.traffic.arrived()

    def _fault(self, question: dns.message.Message | None) -> Installed[DnsEffect] | None:
        if question is None or not question.question:
            return None
        name = question.question[0].name.to_text()
        return next((fault for fault in self.faults if fault.effect.covers(name)), None)

    async def _passed(self, data: bytes, ask: Callable[[bytes], object], look: bool) -> bytes | None:
        try:
            async with asyncio.timeout(PATIENCE):
                answer: bytes = await ask(data)  # type: ignore[misc]
        except (OSError, EOFError, TimeoutError) as error:
            self.traffic.failed += 1
            self.observe("upstream-silent", proxy=self.spec.name, why=str(error) or type(error).__name__)
            return None
        self.traffic.passed += not look
        return answer

    async def _over_udp(self, data: bytes) -> bytes:
        """From a socket, and so a port, of its own."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[bytes] = loop.create_future()
        place = (self.upstream.host, self.upstream.port)
        transport, _ = await loop.create_datagram_endpoint(lambda: _OneAnswer(answer, data[:2]), remote_addr=place)
        try:
            transport.sendto(data)
            return await answer
        finally:
            transport.close()

    async def _over_tcp(self, data: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(self.upstream.host, self.upstream.port)
        try:
            writer.write(len(data).to_bytes(2, "big") + data)
            return await _message(reader)
        finally:
            writer.close()

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._busy.add(task)
        task.add_done_callback(self._busy.discard)

    def _changed(self, event: str, fault: str, **fields: object) -> None:
        self.observe(event, proxy=self.spec.name, fault=fault, **fields)


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, came: Callable[[bytes, tuple[str, int]], None]) -> None:
        self._came = came

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._came(data, addr)


class _OneAnswer(asyncio.DatagramProtocol):
    """The first datagram with the question's number."""

    def __init__(self, answer: asyncio.Future[bytes], number: bytes) -> None:
        self._answer, self._number = answer, number

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:  # noqa: ARG002
        if data[:2] == self._number and not self._answer.done():
            self._answer.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self._answer.done():
            self._answer.set_exception(exc)


async def _message(reader: asyncio.StreamReader) -> bytes:
    """Over TCP each message has its length before it. Raises EOFError."""
    return await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))


def _question(data: bytes) -> dns.message.Message | None:
    try:
        return dns.message.from_wire(data, ignore_trailing=True)
    except (dns.exception.DNSException, ValueError):
        return None
