"""A Ray cluster of two nodes on this machine, as a process of its own: `python twonodes.py CORES
KILLED`.

The head has so many cores, the second node one. Prints its address; a line on its standard input
kills the second node, or the `head`, as a power cut would, the end of it ends the cluster.
"""

import sys

from ray.cluster_utils import Cluster

NODE = {"object_store_memory": 80 * 2**20, "include_dashboard": False}

if __name__ == "__main__":
    cores, killed = sys.argv[1:]
    cluster = Cluster(initialize_head=True, head_node_args={**NODE, "num_cpus": int(cores)})
    second = cluster.add_node(**NODE, num_cpus=1)
    print(cluster.address, flush=True)
    for _ in sys.stdin:
        cluster.remove_node(cluster.head_node if killed == "head" else second, allow_graceful=False)
        print("killed", flush=True)
    cluster.shutdown()
