"""Links that outlive the kernel: what they name, who may read it, and the service that serves it behind a login."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any


class _CallablePackage(ModuleType):
    """Python binds an imported package to its name in the parent, where ``mm.share`` must stay the verb as well."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        """See `multimap_kernel.share.links.share`."""
        return import_module("multimap_kernel.share.links").share(*args, **options)


sys.modules[__name__].__class__ = _CallablePackage
