"""Listening: what an address becomes, what is refused and why, and what accepted sockets inherit."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from spyhole.errors import OperatorError
from spyhole.net.listener import BindError, address_of, bind, unlink
from spyhole.upstreams.address import UnixAddress, parse_address
from support.play import descriptors


@contextmanager
def bound(address: str, copies: int = 1, **options: Any) -> Iterator[list[list[socket.socket]]]:
    before = descriptors()
    sets = bind(parse_address(address, listening=True), copies, **options)
    with ExitStack() as stack:
        for sockets in sets:
            for sock in sockets:
                stack.enter_context(sock)
        yield sets
    assert not descriptors() - before


def refusal(address: str, copies: int = 1) -> str:
    """Why it can't be listened on. Nothing is left open."""
    before = descriptors()
    with pytest.raises(BindError) as caught:
        bind(parse_address(address, listening=True), copies)
    assert not descriptors() - before
    assert isinstance(caught.value, OperatorError)
    return str(caught.value)


# what an address becomes


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_an_address_is_one_socket(host: str) -> None:
    with bound(f"{host}:0") as ((sock,),):
        assert address_of(sock).rpartition(":")[0] == host
        assert not sock.getblocking()
        assert not sock.get_inheritable()
        with socket.create_connection(sock.getsockname()[:2]):
            pass


def test_any_host_is_one_socket_of_each_family_on_one_port() -> None:
    with bound("*:0", 2) as sets:
        assert [[sock.family for sock in sockets] for sockets in sets] == [
            [socket.AF_INET, socket.AF_INET6]
        ] * 2
        ports = {sock.getsockname()[1] for sockets in sets for sock in sockets}
        (port,) = ports
        assert address_of(sets[0][0]) == f"0.0.0.0:{port}"
        assert address_of(sets[0][1]) == f"[::]:{port}"
        for host in ("127.0.0.1", "::1"):
            socket.create_connection((host, port)).close()


def test_any_host_where_the_kernel_has_no_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.socket

    def without_ipv6(family: int = -1, *rest: Any, **options: Any) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        return real(family, *rest, **options)

    monkeypatch.setattr(socket, "socket", without_ipv6)
    with bound("*:0") as (sockets,):
        assert [sock.family for sock in sockets] == [socket.AF_INET]
    assert refusal("[::1]:0") == "can't listen on '[::1]:0': address family not supported by protocol"
    assert refusal("[::1]:4433") == "can't listen on '[::1]:4433': address family not supported by protocol"


def test_a_name_is_every_address_that_it_has() -> None:
    with bound("localhost:0") as (sockets,):
        hosts = {sock.getsockname()[0] for sock in sockets}
        assert hosts <= {"127.0.0.1", "::1"}
        assert len(hosts) == len(sockets)


def test_a_name_that_does_not_resolve(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    assert refusal("a.test:443") == "can't listen on 'a.test:443': Name or service not known"


def test_copies_share_a_port_and_each_has_a_queue_of_its_own() -> None:
    with bound("127.0.0.1:0", 3) as sets, ExitStack() as stack:
        (port,) = {sock.getsockname()[1] for (sock,) in sets}
        for _ in range(60):
            stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        accepted = []
        for (sock,) in sets:
            count = 0
            while True:
                try:
                    sock.accept()[0].close()
                except BlockingIOError:
                    break
                count += 1
            accepted.append(count)
        assert sum(accepted) == 60
        assert sum(count > 0 for count in accepted) > 1, "the kernel spreads them"


def test_copies_of_a_unix_socket_have_one_queue(tmp_path: Path) -> None:
    with bound(f"unix:{tmp_path}/s", 3) as sets:
        assert len({sock.fileno() for (sock,) in sets}) == 3
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(tmp_path / "s"))
            ((first,), (second,), (third,)) = sets
            for idle in (first, third):
                assert not idle.getblocking()
            assert address_of(third) == f"unix:{tmp_path}/s"
            third.accept()[0].close()
            with pytest.raises(BlockingIOError):
                second.accept()


def test_port_0_is_the_same_for_all_copies() -> None:
    with bound("127.0.0.1:0", 4) as sets:
        assert len({sock.getsockname() for (sock,) in sets}) == 1


# what accepted sockets inherit


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_accepted_sockets_inherit_the_options(host: str) -> None:
    with bound(f"{host}:0", keepalive=77.6) as ((sock,),):
        with socket.create_connection(sock.getsockname()[:2]):
            accepted, _ = sock.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 78


def test_keepalive_may_be_off() -> None:
    with bound("127.0.0.1:0", keepalive=None) as ((sock,),):
        assert not sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


def test_a_deferred_accept_waits_for_the_first_bytes() -> None:
    with (
        bound("127.0.0.1:0", defer_accept=True) as ((sock,),),
        socket.create_connection(sock.getsockname()) as client,
    ):
        with pytest.raises(BlockingIOError):
            sock.accept()
        client.send(b"hello")
        sock.setblocking(True)
        accepted, _ = sock.accept()
        with accepted:
            assert accepted.recv(10, socket.MSG_DONTWAIT) == b"hello"


# what is refused


def test_a_port_that_another_process_shares_by_the_same_option_is_refused() -> None:
    """With SO_REUSEPORT alone both would get half of the connections, and nobody would be told."""
    script = (
        "import socket, sys; s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1);"
        "s.bind(('127.0.0.1', 0)); s.listen(); print(s.getsockname()[1], flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        port = int(other.stdout.readline())
        for host in ("127.0.0.1", "*"):
            assert refusal(f"{host}:{port}", 2) == (
                f"can't listen on '{host}:{port}': address already in use; "
                "another process listens there: stop it, or change `bind` (--listen)"
            )
        other.communicate()


def test_a_port_whose_connections_linger_is_free() -> None:
    with bound("127.0.0.1:0") as ((sock,),):
        port = sock.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            sock.accept()[0].close()  # the first to close keeps the port in TIME_WAIT
    with bound(f"127.0.0.1:{port}", 2):
        pass


def test_an_address_that_is_not_this_machines() -> None:
    assert refusal("192.0.2.1:4433") == (
        "can't listen on '192.0.2.1:4433': cannot assign requested address; "
        "no interface of this machine has that address"
    )


def test_what_was_bound_before_a_failure_is_closed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free_in_ipv4:
        port = free_in_ipv4.getsockname()[1]
    with socket.create_server(("::1", port), family=socket.AF_INET6):
        assert "already in use" in refusal(f"*:{port}", 3)
        with bound(f"127.0.0.1:{port}"):
            pass


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to have the right that is then given up")
def test_a_low_port_without_the_right_to_it() -> None:
    before = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()
    if int(before) <= 443:
        pytest.skip(f"needs privileged ports; here they begin below {int(before)}")
    script = (
        "import os, sys; from spyhole.net.listener import *; from spyhole.upstreams.address import *;"
        "os.setuid(65534)\n"
        "try: bind(parse_address('127.0.0.1:443', listening=True))\n"
        "except BindError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == (
        "can't listen on '127.0.0.1:443': permission denied; "
        "a port below 1024 needs CAP_NET_BIND_SERVICE or root\n"
    )


# unix sockets' files


def test_a_file_left_by_a_process_that_was_killed_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
        dead.listen()
    assert path.is_socket()
    with bound(f"unix:{path}"), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


@pytest.mark.parametrize("backlog", ["room", "full"])
def test_a_live_unix_socket_is_refused_and_left_alone(tmp_path: Path, backlog: str) -> None:
    path = tmp_path / "s"
    with ExitStack() as stack:
        live = stack.enter_context(socket.socket(socket.AF_UNIX))
        live.bind(str(path))
        live.listen(0)
        code = 0
        while backlog == "full" and not code:
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.setblocking(False)
            code = client.connect_ex(str(path))
        inode = path.stat().st_ino
        assert "another process listens there" in refusal(f"unix:{path}")
        assert path.stat().st_ino == inode


def test_a_regular_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.write_text("precious")
    assert refusal(f"unix:{path}") == (
        f"can't listen on 'unix:{path}': the file is there and is not a socket"
    )
    assert path.read_text() == "precious"


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert refusal(f"unix:{tmp_path}/absent/s") == (
        f"can't listen on 'unix:{tmp_path}/absent/s': no such file or directory"
    )


def test_a_path_through_a_file_is_an_error_of_the_operators(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert (
        refusal(f"unix:{tmp_path}/file/s") == f"can't listen on 'unix:{tmp_path}/file/s': not a directory"
    )


def test_a_file_is_removed_when_it_is_there(tmp_path: Path) -> None:
    address = UnixAddress(str(tmp_path / "s"))
    with bound(str(address)):
        unlink(address)
    assert not (tmp_path / "s").exists()
    unlink(address)
