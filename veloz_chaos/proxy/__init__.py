"""The product's own fault proxy: stands in front of an HTTP service or a DNS server and answers as it is told to.

Toxiproxy hurts TCP and knows no requests; this one does. It is controlled over an HTTP API like Toxiproxy's, every
fault in it ends by itself, and it knows nothing of experiments: whoever can send JSON can use it.
"""

from veloz_chaos.proxy.server import serve
from veloz_chaos.proxy.spec import ProxySpec

__all__ = ["ProxySpec", "serve"]
