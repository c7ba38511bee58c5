"""For the tests of an application: a cluster in memory."""

from ._cluster import Cluster

__all__ = ["Cluster"]
