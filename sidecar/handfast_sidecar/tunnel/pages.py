"""A buffer whose memory is the kernel's until bytes are put there, and again after `give_back`.

Bulk needs large buffers and small requests do not: so each is made large, and pays for what it holds. The mapping is
private, because pages of a shared one would stay allocated behind our back.
"""

import mmap


class Pages:
    """Anonymous memory of a fixed size, in bytes; `kept` of them stay when the rest is given back."""

    __slots__ = ("_highest", "_kept", "buffer", "view")

    def __init__(self, size: int, *, kept: int = 0) -> None:
        self.buffer = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE)
        self.view = memoryview(self.buffer)
        self._kept = kept
        self._highest = 0

    def touched(self, end: int) -> None:
        """Bytes up to here were written."""
        self._highest = max(self._highest, end)

    def give_back(self) -> None:
        """Return to the kernel what was touched; it reads as zeros. Without anything to return it costs nothing."""
        if self._highest > self._kept:
            self.buffer.madvise(mmap.MADV_DONTNEED, self._kept, len(self.view) - self._kept)
            self._highest = 0
