"""llama.cpp's server in this process: `python engine_server.py OPTIONS` serves until it is told to stop.

OPTIONS is a JSON object of `xllamacpp.CommonParams` fields; `model`, `alias` and `threads` sit deeper.
A script of its own, so that a crash of the native code ends this process and no other.
"""

import json
import signal
import sys

import xllamacpp


def main() -> int:
    options = json.loads(sys.argv[1])
    # It has nothing to save: a signal ends it at once, also while it loads.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    params = xllamacpp.CommonParams()
    params.model.path = options.pop("model")
    threads = options.pop("threads")
    if threads:
        params.cpuparams.n_threads = threads
        params.cpuparams_batch.n_threads = threads
    params.model_alias = {options.pop("alias")}
    for name, value in options.items():
        setattr(params, name, value)
    server = xllamacpp.Server(params)
    print(f"listening on {server.listening_address}", flush=True)
    while True:
        signal.pause()


if __name__ == "__main__":
    sys.exit(main())
