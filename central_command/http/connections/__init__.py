"""Bytes in and out: sockets, TLS, HTTP/1.1 and its bounds in time. What a request is answered is decided elsewhere."""
