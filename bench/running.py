"""A proxy that runs, and the backends that it is told of."""

from __future__ import annotations

import random
import socket
import ssl
import subprocess
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from bench import proc
from bench.hello import TLS_AES_128_GCM_SHA256, Hello, hello
from bench.peers import Job, Peer
from bench.programs import LOAD, Failed, Program

if TYPE_CHECKING:
    from pathlib import Path

    from bench.certificate import Certificate
    from bench.place import Place
    from bench.works import Setting

BACKENDS = {"reply": "reply", "echo": "echo", "source": "source", "sink": "sink", "held": "reply"}
"""What the names in front of `.bench.test` get: see backend.c. `held` is for connections that idle."""
TLS_NAME = "tls.bench.test"
"""The one name for which TLS is terminated; within it, the client says which backend it wants."""
_PATIENCE = 60.0


class Running:
    """A peer's processes."""

    def __init__(
        self, peer: Peer, setting: Setting, place: Place, directory: Path, certificate: Certificate
    ) -> None:
        """Starts it, and does not wait: see `wait`."""
        directory.mkdir(parents=True)
        directory.chmod(0o755)
        self.peer = peer
        self.name = peer.NAME
        self.setting = setting
        self.place = place
        self.directory = directory
        self.certificate = certificate
        names = ["any"] if setting.terminate else ["reply"] if setting.routes == 1 else list(BACKENDS)
        port, *ports = _free_ports(1 + len(names))
        self.address = f"{place.proxy_host}:{port}"
        self.backends = {name: f"{place.load_host}:{port}" for name, port in zip(names, ports, strict=True)}
        self.log = directory / "access.log" if setting.log else None
        job = Job(
            self.address,
            self._routes(),
            directory,
            setting.workers,
            certificate if setting.terminate else None,
            self.log,
        )
        self._output = (directory / "output").open("w")
        try:
            command = place.proxy(peer.command(job))
        except Exception as error:  # of whoever wrote that file
            command = [
                "sh",
                "-c",
                'echo "$1" && exit 1',
                "sh",
                f"its command line can't be made: {error!r}",
            ]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._output,
        )
        self.pids = [self._process.pid]

    def load(self, mode: str, backend: str, *flags: str, shape: str = "plain") -> list[str]:
        """The load generator's command line, with hellos of a shape, up to what the work adds."""
        name = TLS_NAME if self.setting.terminate else f"{backend}.bench.test"
        words = [str(LOAD), mode, "--to", self.address]
        for word in self.hellos(name, shape):
            words += ["--hello", word]
        if self.setting.terminate:
            words += ["--key-share", str(_hellos(name, "tls")[0].share_at)]
        words += ["--sources", f"{self.place.load_host}:16", "--spin", str(int(self.place.spin)), *flags]
        return self.place.load(words)

    def serve(self, *names: str) -> list[str]:
        """Flags for the backends of these names, if there are such; without names, all but `held`."""
        wanted = names or [name for name in self.backends if name != "held"]
        flags = []
        for name in wanted:
            if name in self.backends:
                flags += ["--serve", f"{BACKENDS.get(name, name)}:{self.backends[name]}"]
        return flags

    def hellos(self, name: str, shape: str = "plain") -> list[str]:
        """The load generator's words for hellos: a file, and what of it varies."""
        words = []
        shape = "tls" if self.setting.terminate else shape
        for number, made in enumerate(_hellos(name, shape)):
            path = self.directory / f"{name}.{shape}.{number}"
            path.write_bytes(made.wire)
            words.append(made.word(path))
        return words

    def wait(self) -> None:
        """Wait until it passes a connection on. Raises Failed."""
        command = self.load("setup", "reply", *self.serve(), "--count", "1", "--give-up", "5")
        ends = time.monotonic() + _PATIENCE
        why = ""
        while time.monotonic() < ends and self._process.poll() is None:
            try:
                with Program(command) as program:
                    answer = program.go(5000)
            except Failed as failure:
                why = str(failure)
            else:
                if answer["operations"] == 1:
                    break
                why = answer["why"]
            time.sleep(0.05)
        else:
            ended = self._process.poll()
            text = " ".join((self.directory / "output").read_text(errors="replace").split())[-600:]
            how = (
                f"it ended with status {ended}"
                if ended is not None
                else f"it does not pass anything on: {why}"
            )
            raise Failed(f"{how}: {text}" if text else how)
        if self.setting.terminate and not self.place.load_prefix:
            self._check_tls()
        self.pids = proc.tree(self._process.pid)

    @property
    def lives(self) -> bool:
        """Whether its first process does."""
        return self._process.poll() is None

    def cpu(self) -> proc.Cpu:
        """CPU time of its processes so far."""
        return proc.cpu_of(self.pids)

    def memory(self) -> int:
        """Proportional set size of its processes."""
        return proc.memory_of(self.pids)

    def logged(self) -> int:
        """How many lines its access log has."""
        if self.log is None or not self.log.exists():
            return 0
        with self.log.open("rb") as file:
            return sum(1 for _ in file)

    def descriptors(self) -> int:
        """How many the one of its processes has open that has most of them."""
        return max((proc.descriptors_of(pid) for pid in self.pids), default=0)

    def stop(self) -> None:
        """Tell it to end, and do not wait."""
        self._process.terminate()

    def end(self) -> None:
        """End it, if need be by force."""
        pids = proc.tree(self._process.pid)
        self.stop()
        with suppress(subprocess.TimeoutExpired):  # it waits for connections to end
            self._process.wait(1)
        for pid in reversed(pids):  # its children are its own and end with it
            if pid != self._process.pid or self.lives:
                subprocess.run(["kill", "-KILL", str(pid)], check=False, stderr=subprocess.DEVNULL)
        self._process.wait()
        self._output.close()

    def _routes(self) -> dict[str, str]:
        if self.setting.terminate:
            return {TLS_NAME: self.backends["any"]}
        routes = {f"{name}.bench.test": address for name, address in self.backends.items()}
        fill = (self.setting.routes or 0) - len(routes)
        others = [f"n{number}.routes.bench.test" for number in range(fill)]
        # in the middle, for those that try one after the other
        half = len(others) // 2
        before = dict.fromkeys(others[:half], self.backends["reply"])
        return before | routes | dict.fromkeys(others[half:], self.backends["reply"])

    def _check_tls(self) -> None:
        """With a client that checks everything: certificate, TLS 1.3, and that the plaintext arrives."""
        host, _, port = self.address.rpartition(":")
        context = ssl.create_default_context(cafile=str(self.certificate.authority))
        try:
            with (
                Program(self.place.load([str(LOAD), "serve", *self.serve("any")])),
                socket.create_connection((host, int(port)), timeout=10) as plain,
                context.wrap_socket(plain, server_hostname=TLS_NAME) as client,
            ):
                client.sendall(b"reply")
                if client.version() != "TLSv1.3" or client.recv(5) != b"reply":
                    raise Failed(f"{client.version()} and no plaintext")
        except OSError as error:
            raise Failed(f"a client that checks refuses it: {error}") from None


def _hellos(name: str, shape: str) -> list[Hello]:
    match shape:
        case "tls":
            return [hello(name, ciphers=(TLS_AES_128_GCM_SHA256,))]
        case "permuted":
            return [hello(name, grease=seed) for seed in range(64)]
        case _:
            return [hello(name, post_quantum=shape == "post-quantum")]


_given: set[int] = set()


def _free_ports(count: int) -> list[int]:
    """Ports below those that clients get, which nobody listens on now, and each only once."""
    found: list[int] = []
    while len(found) < count:
        port = random.randrange(10000, 30000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in _given:
            _given.add(port)
            found.append(port)
    return found
