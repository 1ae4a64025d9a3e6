"""dwell: tells the sidecar dwelld what a process's inferences, spans, metrics and time budgets cost.

Without a daemon everything is a no-op. Nothing here raises into the application or blocks it.
"""
from . import exposition, metrics, middleware, tracking
from ._client import Client, client
from ._version import VERSION as __version__
from .exposition import *
from .metrics import *
from .middleware import *
from .tracking import *

__all__ = ["Client", "client"]
__all__ += exposition.__all__ + metrics.__all__ + middleware.__all__ + tracking.__all__
