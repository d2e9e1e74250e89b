"""``python -m sandbox --port 12111 --webhook URL --secret whsec_…``."""

import argparse
import asyncio
import signal
import sys

from sandbox.serving import ListenError, running

HIGHEST_PORT = 65535


async def serve(options: argparse.Namespace) -> None:
    """Serve until SIGTERM or Ctrl-C."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with running(options.port, options.seed) as box:
        if options.webhook:
            box.webhook(options.webhook, options.secret)
        if options.connect_webhook:
            box.webhook(options.connect_webhook, options.connect_secret, connect=True)
            box.webhook(options.connect_webhook, options.connect_secret, thin=True)
        sys.stdout.write(f"sandbox listening on {box.url}\n")
        sys.stdout.flush()
        await stop.wait()


def port(text: str) -> int:
    """A port as it is written, or ValueError."""
    if not 0 <= (found := int(text)) <= HIGHEST_PORT:
        raise ValueError
    return found


def main() -> None:
    """Read the command line, then serve."""
    parser = argparse.ArgumentParser(prog="sandbox", description=__doc__)
    parser.add_argument("--port", type=port, default=12111, help="0: any free one")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--webhook", help="where the platform's events go")
    parser.add_argument("--secret", default="whsec_sandbox")
    parser.add_argument("--connect-webhook", help="where connected accounts' events go")
    parser.add_argument("--connect-secret", default="whsec_sandbox_connect")
    options = parser.parse_args()
    try:
        asyncio.run(serve(options))
    except ListenError as error:
        parser.error(f"cannot listen on port {options.port}: {error.strerror}")


if __name__ == "__main__":
    main()
