"""The sandbox: a small trading stack of real processes on loopback, for machines without Docker, cluster or root.

    supervisor ── starts, watches and restarts ──▶ exchange   Binance's spot endpoints, a price, an order book
                                                  dns        knows where the exchange is
                                                  faults     the product's HTTP and DNS fault proxy
                                                  links      TCP proxies that speak Toxiproxy's HTTP API
    gateway ──link "engine"────▶ engine           engine     risk checks, orders, positions, balances; a checkpoint
       ├──────link "exchange"──▶ HTTP proxy "exchange" ──▶ exchange
       └──────DNS proxy "dns"──▶ dns              gateway    what users and probes talk to

With `--monitoring` the supervisor runs a real Prometheus, a real Alertmanager and a catcher besides (`monitoring.py`).

It behaves as the failure modes promise, unless a flaw (`flaws.py`) is asked for. Every process writes a truth log
of when it really failed, noticed and recovered, so that tests can check what was measured from outside.
`control.py` is the way in: up, down, status, find.
"""
