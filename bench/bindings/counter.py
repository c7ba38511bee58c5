"""The counter of `bench bindings` in Python. See counter.c for what it is told and what it answers."""

import struct
import sys
import threading
import time

import oarlock

ONE = struct.pack("<Q", 1)


class Counter(oarlock.StateMachine):
    def __init__(self):
        self.value = 0

    def apply_batch(self, entries):
        results = []
        for entry in entries:
            self.value += struct.unpack("<Q", entry.command)[0]
            results.append(struct.pack("<Q", self.value))
        return results

    def query(self, request):
        return struct.pack("<Q", self.value)

    def snapshot(self, writer):
        writer.write(struct.pack("<Q", self.value))

    def restore(self, reader):
        self.value = struct.unpack("<Q", reader.read(8))[0]


class Bench:
    def __init__(self, path):
        config = oarlock.Config.load(path)
        self.servers = []
        for server_id in config.members:
            oarlock.format(config, server_id)
            self.servers.append(oarlock.Server(config, server_id, Counter()).start())
        for server in self.servers:
            server.wait_ready(timeout=30)

    def leader(self):
        while True:
            for server in self.servers:
                if server.group_info().role == oarlock.Role.LEADER:
                    return server
            time.sleep(0.002)

    def waiting(self, clients, seconds):
        counts = [0] * clients
        stopping = threading.Event()

        def client(i):
            leader = self.leader()
            while not stopping.is_set():
                try:
                    leader.propose(ONE, timeout=10)
                    counts[i] += 1
                except oarlock.Error:
                    leader = self.leader()

        threads = [threading.Thread(target=client, args=(i,)) for i in range(clients)]
        for thread in threads:
            thread.start()
        time.sleep(seconds)
        stopping.set()
        for thread in threads:
            thread.join()
        return sum(counts)

    def futures(self, clients, seconds):
        leader, deadline, lock = self.leader(), time.monotonic() + seconds, threading.Lock()
        answered, under_way, idle = [0], [clients], threading.Event()

        def completed(future):
            if future.exception() is None:
                answered[0] += 1
                if time.monotonic() < deadline:
                    leader.propose_future(ONE).add_done_callback(completed)
                    return
            with lock:
                under_way[0] -= 1
                if under_way[0] == 0:
                    idle.set()

        for _ in range(clients):
            leader.propose_future(ONE).add_done_callback(completed)
        idle.wait()
        return answered[0]

    def run(self, seconds, clients, way):
        begin = time.monotonic()
        answered = (self.futures if way == "async" else self.waiting)(clients, seconds)
        print(answered, time.monotonic() - begin, flush=True)

    def close(self):
        for server in self.servers:
            server.close()


def main():
    bench = Bench(sys.argv[1])
    print("ready", flush=True)
    for line in sys.stdin:
        word, seconds, clients, way = line.split()
        assert word == "run", line
        bench.run(float(seconds), int(clients), way)
    bench.close()


main()
