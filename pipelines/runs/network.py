"""What a process on a node of a cluster does first."""

import os

import psutil
import ray


def use_interface() -> None:
    """Have workers talk to each other (gloo) by the network interface that Ray uses. Left alone, gloo takes the address
    of the host's name, which on many machines is a loopback one that no other node reaches."""
    address = ray.util.get_node_ip_address()
    for name, addresses in psutil.net_if_addrs().items():
        if address in [each.address for each in addresses]:
            os.environ.setdefault("GLOO_SOCKET_IFNAME", name)
