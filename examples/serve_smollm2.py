"""Serve SmolLM2-135M with llama.cpp on the loopback interface, until Ctrl-C."""

import argparse
import signal

from crucible_ensemble import LlamaCppModel


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--port", type=int, default=8765)
    options.add_argument("--parallel", type=int, default=2, help="requests answered at a time")
    chosen = options.parse_args()
    model = LlamaCppModel(port=chosen.port, parallel=chosen.parallel)
    print(f"serving {model.base_url}", flush=True)
    signal.sigwait({signal.SIGINT, signal.SIGTERM})


if __name__ == "__main__":
    main()
