"""Images at addresses of the web: downloaded within limits, and followed to no other kind of address."""

from __future__ import annotations

import http.client
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from typing import IO

from yolo9000.datasets.sample import Unreadable


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What an address may take.

    Parameters
    ----------
    megabytes : float
        Size of the file.
    seconds : float
        Time until it is there.
    """

    megabytes: float = 64.0
    seconds: float = 30.0


def fetch(address: str, limits: Limits | None = None) -> bytes:
    """Download a file.

    Parameters
    ----------
    address : str
        It begins with http or https, and is not followed to any other kind of address. It may hold any letters, as
        browsers show them.
    limits : Limits, optional

    Raises
    ------
    Unreadable
        It is not there, is too large or too slow.
    """
    limits = limits or Limits()
    most, end = int(limits.megabytes * 1e6), time.monotonic() + limits.seconds
    parts: list[bytes] = []
    try:
        opener = urllib.request.build_opener(_OnlyWeb)
        request = urllib.request.Request(_in_ascii(address), headers={"User-Agent": "yolo9000"})
        with opener.open(request, timeout=limits.seconds) as answer:
            # what arrives is taken at once, for a read of all of it would wait for a slow server again and again
            while part := answer.read1(1 << 16):
                parts.append(part)
                if sum(map(len, parts)) > most:
                    raise Unreadable(address, f"larger than {limits.megabytes:g} megabytes")
                if time.monotonic() > end:
                    raise Unreadable(address, f"not there after {limits.seconds:g} seconds")
    except urllib.error.HTTPError as error:
        error.close()
        raise Unreadable(address, f"the server answers {error.code} {error.reason}") from error
    except (TimeoutError, urllib.error.URLError) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, TimeoutError):
            raise Unreadable(address, f"not there after {limits.seconds:g} seconds") from error
        raise Unreadable(address, f"cannot be reached ({reason})") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        if isinstance(error, Unreadable):
            raise
        raise Unreadable(address, f"cannot be reached ({error})") from error
    return b"".join(parts)


def _in_ascii(address: str) -> str:
    """An address as it is sent: a name of a machine by IDNA, all else in percents; what has percents stays."""
    place = urllib.parse.urlsplit(address).netloc
    user, at, host = place.rpartition("@")
    if not host.isascii():
        address = address.replace(place, f"{user}{at}{host.encode('idna').decode()}", 1)
    return urllib.parse.quote(address, safe="%/:?#[]@!$&'()*+,;=~")


class _OnlyWeb(urllib.request.HTTPRedirectHandler):
    """An answer may send us to another address of the web, and not to a file or to ftp."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        if not is_address(newurl):
            fp.close()
            raise urllib.error.URLError(f"sends us to {newurl}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def is_address(text: str) -> bool:
    """Whether a text is the address of something on the web.

    Examples
    --------
    >>> is_address("HTTPS://example.org/a.jpg"), is_address("photos/a.jpg")
    (True, False)
    """
    return text.lower().startswith(("http://", "https://"))
