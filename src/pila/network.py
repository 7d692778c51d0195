"""Where HTTP clients are made: proxies, certificates and limits, and what goes wrong with them.

A client takes its proxy and its certificates from variables that desktops and companies set
(`https_proxy`, `all_proxy`, `NO_PROXY`, `SSL_CERT_FILE`, ...). Here they are read for the one
address that is asked, so that a proxy that no client understands matters only where it would be
used, and the message names the variable. This machine is never asked through a proxy.
"""

import ipaddress
import os
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from pila.errors import InputError

PROXY_VARIABLES = (
    *("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY"),
    *("all_proxy", "ALL_PROXY"),
)
"""What HTTP clients read the proxies from; in lower case they count first."""
TLS_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE")
"""Files without which no client that speaks TLS can be made."""
LOOPBACK = ("localhost", "127.0.0.1", "::1")
_HTTP_PROXIES, _SOCKS_PROXIES = ("http", "https"), ("socks5", "socks5h")
_PARTLESS = "(no whole address)"
_environment = threading.RLock()


class NetworkUnusable(InputError):
    """An address, or a variable of the environment, with which nothing can be asked."""


def one_line(text: Any, limit: int = 300) -> str:
    """Foreign words as a message may hold them: on one line, printable, and short."""
    flat = " ".join(str(text).encode("utf-8", "backslashreplace").decode().split())
    flat = "".join(c if c.isprintable() else "?" for c in flat[: limit + 1])
    return flat if len(flat) <= limit else f"{flat[:limit]}..."


def shown_address(url: str) -> str:
    """A server's address as messages and logs name it: no user, no password, no path."""
    try:
        parts = urlsplit(url)
        where = parts.netloc.rpartition("@")[2]
    except ValueError:  # brackets without an IPv6 address
        where = ""
    return f"{parts.scheme}://{where}" if where else _PARTLESS


def check_address(url: str, named: str) -> None:
    """Refuses what no request can be sent to.

    Args:
        url: of a server.
        named: how the message calls it, as "HF_ENDPOINT".

    Raises:
        NetworkUnusable: it is not http or https, or its host or port cannot be.
    """
    fault = _address_fault(url)
    if fault:
        shown = shown_address(url)
        if shown == _PARTLESS and "@" not in url:
            shown = one_line(url.partition("?")[0], 80)
        raise NetworkUnusable(
            f"{named} is {shown!r}, {fault}; it must start with http:// or https:// "
            "and name a host, e.g. http://localhost:8000/v1"
        )


def _address_fault(url: str) -> str:
    """What is wrong with an address, without any part that may be secret; empty if nothing."""
    import httpx2

    if not url.lower().startswith(("http://", "https://")):
        return "which is no http address"
    if not url.isprintable() or any(c.isspace() for c in url):
        return "which holds blanks or control characters"
    try:
        host, _ = urlsplit(url).hostname, urlsplit(url).port
        host = host and httpx2.URL(url).host
    except (ValueError, httpx2.InvalidURL):
        return "whose host or port cannot be read"
    return "" if host else "which names no host"


def is_loopback(host: str) -> bool:
    """Whether a host is this machine itself, as localhost, 127.0.0.1 and ::1 are."""
    host = host.strip("[]").rstrip(".").lower()
    if host == "localhost" or host.endswith(".localhost"):
        return True
    address = _ip(host)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return address is not None and (address.is_loopback or address.is_unspecified)


def _ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host))  # 127.1, as resolvers take it
    except (OSError, UnicodeError):
        return None


@dataclass(frozen=True, slots=True)
class Proxy:
    """Through which server requests go, and what says so.

    Attributes:
        url: of the proxy; may hold a password.
        variable: of the environment.
    """

    url: str
    variable: str

    def __str__(self) -> str:
        return f"{shown_address(self.url)} ({self.variable})"


def proxy_for(url: str) -> Proxy | None:
    """The proxy through which an address is asked; None for straight.

    Raises:
        NetworkUnusable: a proxy is set for it that no client here can speak to; the message names
            the variable.
    """
    parts = urlsplit(url)
    host, proxies = parts.hostname or "", getproxies()
    value = proxies.get(parts.scheme) or proxies.get("all")
    if not value or is_loopback(host) or _exempt(host, parts.netloc.rpartition("@")[2]):
        return None
    value = value if "://" in value else f"http://{value}"
    name = next((n for n in _names(parts.scheme) if os.environ.get(n)), "the system's settings")
    fault = _proxy_fault(value)
    if fault:
        raise NetworkUnusable(
            f"{name} is {shown_address(value)}, {fault}; correct or unset it, or add {host} to "
            "NO_PROXY"
        )
    return Proxy(value, name)


def through(url: str) -> str:
    """The words " through the proxy ..." of a message, where an address is asked through one."""
    try:
        proxy = proxy_for(url)
    except NetworkUnusable:
        return ""
    return f" through the proxy {proxy}" if proxy else ""


def _names(scheme: str) -> tuple[str, ...]:
    return tuple(n for n in PROXY_VARIABLES if n.lower() in (f"{scheme}_proxy", "all_proxy"))


def _exempt(host: str, with_port: str) -> bool:
    """Whether NO_PROXY names a host: by itself, by the end of its name, or by its network."""
    if proxy_bypass(host) or proxy_bypass(with_port):
        return True
    address = _ip(host)
    for entry in getproxies().get("no", "").split(",") if address is not None else ():
        try:
            if "/" in entry and address in ipaddress.ip_network(entry.strip(), strict=False):
                return True
        except ValueError:
            continue
    return False


def _proxy_fault(value: str) -> str:
    """Why no client here can use a proxy; empty if it can."""
    import httpx2

    scheme = value.partition("://")[0].lower()
    if scheme not in (*_HTTP_PROXIES, *_SOCKS_PROXIES):
        return (
            f"a kind of proxy ({one_line(scheme, 20)}://) that is not known here, where http://, "
            "https://, socks5:// and socks5h:// are"
        )
    if scheme in _SOCKS_PROXIES and find_spec("socksio") is None:
        return "which takes the package socksio, and it is not installed (pip install socksio)"
    try:
        proxy = httpx2.Proxy(value)
        port = urlsplit(value).port
    except (ValueError, httpx2.InvalidURL):
        return "whose host or port cannot be read"
    return "" if proxy.url.host and port != 0 else "which names no host"


def tls_context() -> ssl.SSLContext:
    """The certificates that servers are checked against: SSL_CERT_FILE's, or the machine's own.

    Raises:
        NetworkUnusable: SSL_CERT_FILE or SSL_CERT_DIR holds none, or SSLKEYLOGFILE cannot be
            written; the message names the variable.
    """
    import httpx2

    file, folder, log = (os.environ.get(name) or None for name in TLS_VARIABLES)
    if log is not None:
        try:
            with Path(log).open("a", encoding="ascii"):  # as the context opens it
                pass
        except OSError as error:
            raise _unusable("SSLKEYLOGFILE", log, error, "a file that can be written") from error
    if file is not None:
        try:
            return ssl.create_default_context(cafile=file)
        except OSError as error:  # an ssl.SSLError is one, too
            raise _unusable("SSL_CERT_FILE", file, error, "a file of certificates") from error
    if folder is not None:
        try:
            next(Path(folder).iterdir(), None)
        except OSError as error:
            raise _unusable("SSL_CERT_DIR", folder, error, "a folder of certificates") from error
        return ssl.create_default_context(capath=folder)
    return httpx2.create_ssl_context(trust_env=False)


def _unusable(name: str, value: str, error: OSError, wanted: str) -> NetworkUnusable:
    reason = one_line(error.strerror or error, 100)
    return NetworkUnusable(
        f"{name} is {one_line(value, 200)}, which cannot be used ({reason}); set it to {wanted}, "
        "or unset it"
    )


@dataclass(frozen=True, slots=True)
class Way:
    """How a client reaches an address: its options `proxy` and `verify`."""

    proxy: Proxy | None
    verify: ssl.SSLContext | bool


def way_to(url: str, named: str = "the address") -> Way:
    """Everything that a request to an address needs of this machine, before one is sent.

    Args:
        url: of a server.
        named: how messages call it, as "HF_ENDPOINT".

    Raises:
        NetworkUnusable: the address, its proxy or the certificates cannot be used.
    """
    check_address(url, named)
    proxy = proxy_for(url)
    spoken_to = (url, proxy.url if proxy else "")
    encrypted = any(u.lower().startswith("https://") for u in spoken_to)
    return Way(proxy, tls_context() if encrypted else False)


@contextmanager
def clean_environment(url: str | None = None) -> Iterator[None]:
    """The variables as libraries that make clients of their own can use them, while this lasts.

    They refuse to make any client where one of the proxies is of a kind that they do not know,
    though it would not be used.

    Args:
        url: what they ask; `way_to` holds. What does not matter for it goes, this machine is
            asked straight. None where they ask nobody but this machine: all go.
    """
    with _environment:
        kept = dict(os.environ)
        try:
            for name in PROXY_VARIABLES:
                value = os.environ.get(name, "")
                whole = value if "://" in value else f"http://{value}"
                if url is None or (value and _proxy_fault(whole)):
                    os.environ.pop(name, None)
            for name in TLS_VARIABLES if url is None else ():
                os.environ.pop(name, None)
            others = os.environ.get("no_proxy", os.environ.get("NO_PROXY", ""))
            exempt = ",".join(filter(None, (others, *LOOPBACK)))
            os.environ.update(no_proxy=exempt, NO_PROXY=exempt)
            yield
        finally:
            names = (*PROXY_VARIABLES, *TLS_VARIABLES, "no_proxy", "NO_PROXY")
            for name in names:
                os.environ.pop(name, None)
            os.environ.update({name: kept[name] for name in names if name in kept})
