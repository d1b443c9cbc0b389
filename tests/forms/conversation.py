"""A form, held on one way: both scripts at once, and what they saw."""

import socket
from concurrent.futures import ThreadPoolExecutor

from forms.conftest import Way
from forms.steps import PATIENCE_S, Cues, End
from forms.table import Form, Outcome


def converse(form: Form, way: Way, family: int) -> Outcome:
    """Until both applications have done all that they do."""
    listener = way.listen(family)
    listener.settimeout(PATIENCE_S)
    port = listener.getsockname()[1]
    if form.server is None:
        listener.close()
    cues = Cues()
    client = End(lambda: way.dial(family, port), cues)
    server = End(lambda: _accepted(listener), cues)
    try:
        with ThreadPoolExecutor(2) as pool:
            scripts = [pool.submit(client.follow, form.client), pool.submit(server.follow, form.server or ())]
        for script in scripts:
            script.result()
    finally:
        for each in (client, server):
            each.over()
        listener.close()
    return Outcome(tuple(client.seen), tuple(server.seen))


def _accepted(listener: socket.socket) -> socket.socket:
    return listener.accept()[0]
