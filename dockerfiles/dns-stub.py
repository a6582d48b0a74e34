"""A name server that knows every name: all of them are 127.0.0.1. For dockerfiles/prove, in a network
of its own, to see that the static binary resolves names by DNS."""

import socket

server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", 53))
print("listening", flush=True)
while True:
    query, client = server.recvfrom(512)
    end = query.index(0, 12) + 5  # the name, its type and its class
    kind = int.from_bytes(query[end - 4 : end - 2], "big")
    # One answer to a question for an IPv4 address, none to any other. The name is a pointer to the question.
    answer = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x05\x00\x04\x7f\x00\x00\x01" if kind == 1 else b""
    header = query[:2] + b"\x81\x80\x00\x01" + (1 if answer else 0).to_bytes(2, "big") + b"\x00" * 4
    server.sendto(header + query[12:end] + answer, client)
