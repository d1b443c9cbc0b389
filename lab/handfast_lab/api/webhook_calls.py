"""Reviews sent to webhooks: over TLS that the configuration's caBundle verifies, to wherever the Service is.

The one rule: an answer is an AdmissionReview in time, or Unanswered with the words of the real server.
"""

import asyncio
import base64
import json
import ssl
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from handfast_lab.api.admission import Unanswered

Json = dict[str, Any]
Resolve = Callable[[str, str, int], Awaitable[tuple[str, int]]]
"""Where a Service's port is answered: (namespace, name, port) to (host, port); raises OSError where nobody does."""


class WebhookCaller:
    """A connection for each call: the lab makes few, and a webhook's certificates come and go."""

    def __init__(self, resolve: Resolve) -> None:
        self._resolve = resolve

    async def ask(self, webhook: Json, review: Json) -> Json:
        """The answer. Raises Unanswered."""
        config, limit = webhook["clientConfig"], int(webhook.get("timeoutSeconds", 10))
        url, service = _url(config), config.get("service")
        shown = f'failed to call webhook: Post "{url}?timeout={limit}s"'
        try:
            async with asyncio.timeout(limit):
                parts = urlsplit(url)
                host, port = parts.hostname or "", parts.port or 443
                if service:
                    host, port = await self._resolve(service["namespace"], service["name"], port)
                status, text = await self._post(_trust(config), host, port, url, review, limit)
        except TimeoutError as error:
            raise Unanswered(f"{shown}: context deadline exceeded") from error
        except aiohttp.ClientConnectorCertificateError as error:
            why = error.certificate_error
            raise Unanswered(f"{shown}: tls: failed to verify certificate: x509: {why}") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise Unanswered(f"{shown}: {error}") from error
        if status >= 300:
            said = f"an error on the server ({json.dumps(text.strip())}) has prevented the request from succeeding"
            raise Unanswered(f"failed to call webhook: {said}")
        try:
            answer: Json = json.loads(text)
        except ValueError as error:
            raise Unanswered(f"failed to call webhook: {error}") from error
        return answer

    async def _post(self, tls: ssl.SSLContext, host: str, port: int, url: str, review: Json, limit: int
                    ) -> tuple[int, str]:  # fmt: skip
        parts = urlsplit(url)
        where = f"[{host}]" if ":" in host else host
        target = parts._replace(netloc=f"{where}:{port}", query=f"timeout={limit}s").geturl()
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls, force_close=True)) as session,
            session.post(
                target,
                json=review,
                headers={"Host": parts.netloc},
                server_hostname=parts.hostname,
                allow_redirects=False,
            ) as answer,
        ):
            return answer.status, await answer.text(errors="replace")


def _url(config: Json) -> str:
    if service := config.get("service"):
        path = "/" + (service.get("path") or "").lstrip("/")
        return f"https://{service['name']}.{service['namespace']}.svc:{service.get('port', 443)}{path}"
    return str(config["url"])


def _trust(config: Json) -> ssl.SSLContext:
    """The caBundle; where there is none, the system's own authorities, as the real server has it."""
    bundle = base64.b64decode(config.get("caBundle") or "").decode()
    tls = ssl.create_default_context(cadata=bundle or None)
    tls.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return tls
