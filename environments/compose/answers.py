#!/usr/bin/env -S python3 -IS
"""`answers PORT [PATH]`: does something answer here? With a path the answer must be 200. For healthchecks every second:
the bare socket module is all it takes, some 12 ms of CPU."""

import _socket
import sys

port, path = int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else ""
connection = _socket.socket()
connection.settimeout(1)
try:
    connection.connect(("127.0.0.1", port))
    if path:
        connection.send(f"GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n".encode())
        if b" 200 " not in connection.recv(32):
            sys.exit(1)
except OSError:
    sys.exit(1)
