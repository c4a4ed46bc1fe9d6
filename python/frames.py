"""Where Python code stands: the stacks of all threads. Runs each time they are asked for; stacks.c puts `first`, the
thread that is shown first, into it before, and takes `text` out."""

import _thread
import os
import sys
import traceback

# Not imported: who imports it first is the main thread to Python.
# Not enumerate(): that waits for a lock, perhaps of the thread that hangs.
threads = getattr(sys.modules.get("threading"), "_active", {})


def stack(ident, frame):
    name = " %s" % threads[ident].name if ident in threads else ""
    what = ", which runs that request" if ident == first else ""  # noqa: F821
    head = "Thread 0x%016x%s%s (most recent call last):\n" % (ident, name, what)
    return head + "".join(traceback.format_stack(frame))


frames = sys._current_frames()
frames.pop(_thread.get_ident(), None)
stacks = [stack(ident, frames[ident]) for ident in sorted(frames, key=lambda ident: ident != first)]  # noqa: F821
text = "The Python stacks of worker (pid:%d):\n%s" % (os.getpid(), "\n".join(stacks))
