"""Where a server's processor time goes, by groups of functions.

    perf record -F 999 -g -p PID -o forward.data -- sleep 10
    perf script -i forward.data -F comm,ip,sym | python testing/profile.py
"""

import re
import sys
from collections import Counter

# The first that fits the thread, the innermost function or one that called it decides.
GROUPS = [
    ("other threads (signalling, store, AI)", "thread", r"^(?!media-)"),
    ("kernel: send", "stack", r"sendmsg|sendmmsg|sendto"),
    ("kernel: receive", "stack", r"recvmsg|recvmmsg|recvfrom"),
    ("kernel: waiting and the rest", "kernel", r""),
    ("SRTP crypto", "leaf", r"aws_lc|aead_|gcm_|aes_|AwsLcRs|EVP_|srtp"),
    ("copying (memmove, memset)", "leaf", r"^__?mem"),
    ("allocator", "leaf", r"rjem|^(malloc|free|calloc|realloc)|__rust_|alloc::raw_vec"),
    ("str0m: SCTP and DTLS", "leaf", r"sctp_proto|dimpl|str0m::(sctp|dtls)"),
    ("str0m: ICE", "leaf", r"\bis::|str0m::ice|str0m_ice"),
    ("str0m: RTP and the rest", "leaf", r"str0m"),
    ("our own: room, leg, shard", "leaf", r"auralink"),
    ("tokio", "leaf", r"tokio|mio::"),
    ("maps and hashes", "leaf", r"hashbrown|[Hh]ash|sip::"),
]


def samples(lines):
    """Thread, and functions from the innermost out, of each sample."""
    thread, stack = None, []
    for line in lines:
        if not line.strip():
            if stack:
                yield thread, stack
            thread, stack = None, []
        elif thread is None:
            thread = line.strip()
        else:
            address, _, name = line.strip().partition(" ")
            stack.append((int(address, 16), name))
    if stack:
        yield thread, stack


def group(thread, stack):
    address, leaf = stack[0]
    in_kernel = address >= 1 << 63
    for name, where, pattern in GROUPS:
        if where == "thread" and re.search(pattern, thread):
            return name
        if where == "kernel" and in_kernel:
            return name
        if where == "stack" and in_kernel and any(re.search(pattern, function) for _, function in stack):
            return name
        if where == "leaf" and re.search(pattern, leaf):
            return name
    return "the standard library, unknown"


def main():
    counted = Counter(group(thread, stack) for thread, stack in samples(sys.stdin))
    total = sum(counted.values())
    if not total:
        sys.exit("no samples: feed it `perf script -F comm,ip,sym`")
    for name, count in counted.most_common():
        print(f"| {name} | {100 * count / total:.1f} % |")
    print(f"({total} samples)")


if __name__ == "__main__":
    main()
