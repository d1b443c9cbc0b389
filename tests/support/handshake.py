"""A stranger at a port: dials, shows what it was given, and prints as JSON what became of it.

A program of its own, because it runs inside another network namespace than the test.
    handshake.py ADDRESS PORT ALPN [CERTIFICATE-AND-KEY]      a TLS handshake
    handshake.py ADDRESS PORT --send HEX                      bytes
"""

import json
import socket
import ssl
import sys

TIMEOUT_S = 15


def main() -> None:
    address, port, *rest = sys.argv[1:]
    try:
        with socket.create_connection((address, int(port)), timeout=TIMEOUT_S) as sock:
            outcome = send(sock, bytes.fromhex(rest[1])) if rest[0] == "--send" else shake(sock, *rest)
    except (OSError, ssl.SSLError) as error:
        outcome, said = "refused", str(error)
    else:
        said = ""
    sys.stdout.write(json.dumps({"outcome": outcome, "error": said}) + "\n")


def shake(sock: socket.socket, alpn: str, pair: str = "") -> str:
    """Accepted, when the server still listens after it has seen our certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols([alpn])
    if pair:
        context.load_cert_chain(pair)
    with context.wrap_socket(sock) as tls:
        # yamux: a ping, which the server answers when it takes us for a peer.
        tls.sendall(bytes.fromhex("000200010000000000000007"))
        return "accepted" if tls.recv(12) == bytes.fromhex("000200020000000000000007") else "refused"


def send(sock: socket.socket, content: bytes) -> str:
    """Whether anything but an end comes back."""
    sock.sendall(content)
    sock.shutdown(socket.SHUT_WR)
    return "answered" if sock.recv(1) else "refused"


if __name__ == "__main__":
    main()
