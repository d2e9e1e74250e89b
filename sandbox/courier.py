"""Deliveries: at least once, in any order, again with backoff until the endpoint answers 2xx."""

import asyncio
import heapq
import time
from collections.abc import Callable
from contextlib import suppress

import httpx

from sandbox.state import State
from sandbox.webhooks import Delivery, delivered, payload, sign

AT_ONCE = 8  # deliveries under way at the same time
ATTEMPTS = 12  # then the event stays undelivered, for a sweep to find
BACKOFF = 0.1  # seconds before the second attempt, doubled before each further one
BACKOFF_MAX = 10.0


class Courier:
    """Carries the outbox's deliveries, and wakes what the clock has made due."""

    def __init__(self, state: Callable[[], State], at_once: int = AT_ONCE) -> None:
        self._state = state
        self._client = httpx.AsyncClient(timeout=10, trust_env=False)
        self._slots = asyncio.Semaphore(at_once)
        self._under_way: set[asyncio.Task[bool]] = set()
        self._changed = asyncio.Event()
        self.held = False

    def wake(self) -> None:
        """Something may be due."""
        self._changed.set()

    async def run(self) -> None:
        """Deliver for ever."""
        while True:
            self._changed.clear()
            state = self._state()
            state.catch_up()
            while self._ready(state):
                await self._slots.acquire()
                if self._ready(state):  # a drain may have emptied the outbox meanwhile
                    self._start(state, heapq.heappop(state.outbox))
                else:
                    self._slots.release()
            with suppress(TimeoutError):  # wait_for could swallow a cancellation here
                async with asyncio.timeout(self._pause(state)):
                    await self._changed.wait()

    def _ready(self, state: State) -> bool:
        return not self.held and bool(state.outbox) and state.outbox[0].due <= time.monotonic()

    def _pause(self, state: State) -> float | None:
        """Seconds until the next delivery or the clock's next act."""
        pauses = []
        if state.outbox and not self.held:
            pauses.append(state.outbox[0].due - time.monotonic())
        due = state.next_due()
        if due is not None:
            pauses.append(due - state.clock.now())
        return max(0.01, min(pauses)) if pauses else None

    def _start(self, state: State, delivery: Delivery) -> None:
        task = asyncio.create_task(self._attempt(state, delivery))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        task.add_done_callback(lambda _: self._slots.release())

    async def _attempt(self, state: State, delivery: Delivery) -> bool:
        """One attempt; unless it succeeds, the delivery is due again later."""
        delivery.attempts += 1
        if await self.send(state, delivery):
            delivered(state, delivery)
            return True
        if delivery.attempts < ATTEMPTS:
            pause = min(BACKOFF * 2 ** (delivery.attempts - 1), BACKOFF_MAX)
            delivery.due = time.monotonic() + pause
            heapq.heappush(state.outbox, delivery)
            self.wake()
        return False

    async def send(self, state: State, delivery: Delivery) -> bool:
        """Whether the endpoint took it."""
        body = payload(delivery)
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "Stripe-Signature": sign(body, state.hooks[delivery.endpoint["id"]].secret),
            "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
        }
        try:
            answer = await self._client.post(
                delivery.endpoint["url"], content=body, headers=headers
            )
        except httpx.HTTPError:
            return False
        return answer.is_success

    async def carry(self, delivery: Delivery) -> bool:
        """That one delivery, at once; what was queued of the same event is then superfluous."""
        state = self._state()
        sent = await self.send(state, delivery)
        if sent:
            delivered(state, delivery)
            told = (delivery.event["id"], delivery.endpoint["id"])
            state.outbox[:] = [d for d in state.outbox if (d.event["id"], d.endpoint["id"]) != told]
            heapq.heapify(state.outbox)
        return sent

    async def drain(self, attempts: int = 3) -> dict[str, int]:
        """All that is pending has been delivered, or tried that often; what caused more, too."""
        counts = {"delivered": 0, "failed": 0}
        held, self.held = self.held, True  # the background loop leaves the outbox to us
        try:
            if self._under_way:
                await asyncio.gather(*self._under_way)
            state = self._state()
            tries: dict[int, int] = {}
            while due := self._untried(state, tries, attempts):
                for delivery in due:
                    tries[delivery.number] = tries.get(delivery.number, 0) + 1
                results = await asyncio.gather(*(self._carry(state, d) for d in due))
                counts["delivered"] += sum(results)
                if not all(results):
                    await asyncio.sleep(BACKOFF)
            counts["failed"] = len(state.outbox)
        finally:
            self.held = held
            self.wake()
        return counts

    async def _carry(self, state: State, delivery: Delivery) -> bool:
        async with self._slots:
            return await self._attempt(state, delivery)

    @staticmethod
    def _untried(state: State, tries: dict[int, int], attempts: int) -> list[Delivery]:
        """The next round, taken out of the outbox in the order of its due times."""
        state.catch_up()
        taken = [d for d in state.outbox if tries.get(d.number, 0) < attempts]
        if taken:
            left = [d for d in state.outbox if tries.get(d.number, 0) >= attempts]
            state.outbox[:] = left
            heapq.heapify(state.outbox)
        return sorted(taken)

    async def close(self) -> None:
        """Nothing is under way any more."""
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)
        await self._client.aclose()
