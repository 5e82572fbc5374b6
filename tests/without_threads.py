"""Lines of a program that lets it start no more threads or processes. It imports ctypes and os."""

WITHOUT_THREADS = """
# Filters clone and clone3, as a full pids cgroup fails them.
class Filter(ctypes.Structure):
    _fields_ = [("code", ctypes.c_ushort), ("jt", ctypes.c_ubyte), ("jf", ctypes.c_ubyte),
                ("k", ctypes.c_uint)]
class Program(ctypes.Structure):
    _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.POINTER(Filter))]
numbers = {"x86_64": (56, 435), "aarch64": (220, 435)}[os.uname().machine]
rules = [Filter(0x20, 0, 0, 0)]
rules += [Filter(0x15, len(numbers) - at, 0, number) for at, number in enumerate(numbers)]
rules += [Filter(0x06, 0, 0, 0x7FFF0000), Filter(0x06, 0, 0, 0x00050000 | 11)]
libc = ctypes.CDLL(None, use_errno=True)
program = Program(len(rules), (Filter * len(rules))(*rules))
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.byref(program)) == 0, ctypes.get_errno()
"""
