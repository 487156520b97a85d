"""What an error of the network says about the request that met it."""

import errno
import socket
import ssl
from urllib.error import URLError

# Nobody listened, or there was no way there.
_NEVER_LEFT = frozenset({errno.ECONNREFUSED, errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN})


def never_left(error: Exception) -> bool:
    """Whether the request behind `error` surely did not reach the other side. A timeout, a reset: nobody knows."""
    reason = error.reason if isinstance(error, URLError) else error
    if isinstance(reason, socket.gaierror | ssl.SSLCertVerificationError):
        return True
    if isinstance(reason, ssl.SSLError):  # before the handshake is over nothing was said
        return reason.reason not in (None, "UNEXPECTED_EOF_WHILE_READING")
    return isinstance(reason, OSError) and reason.errno in _NEVER_LEFT
