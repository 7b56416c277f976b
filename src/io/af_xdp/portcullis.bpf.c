// SPDX-License-Identifier: MIT OR GPL-2.0
//
// The program at each port of a wire: hands a frame to the worker of its queue while that worker lives,
// drops it otherwise. It never passes a frame to the host's own stack.
//
// Verdicts are not made here. Its maps are pinned with it and outlive the process, so what it does when
// nobody is there (drop, and count) is decided in this file alone.
//
// Freestanding: no kernel or libbpf header is needed, what little is used is declared below
// (uapi linux/bpf.h; numbers there are stable). Map names and sizes are the loader's contract
// (program.rs).

typedef unsigned int u32;
typedef unsigned long long u64;

#define SECTION(name) __attribute__((section(name), used))
#define INLINE static inline __attribute__((always_inline))

// enum bpf_map_type
#define ARRAY 2
#define PERCPU_ARRAY 6
#define XSKMAP 17
// enum: flags of BPF_MAP_CREATE
#define MMAPABLE (1u << 10)
// enum xdp_action
#define XDP_DROP 1
#define XDP_REDIRECT 4

#define QUEUES 64

struct xdp_md {
	u32 data, data_end, data_meta;
	u32 ingress_ifindex;
	u32 rx_queue_index;
	u32 egress_ifindex;
};

struct bpf_map_def {
	u32 type, key_size, value_size, max_entries, map_flags, id, pinning;
};

static void *(*lookup)(void *map, const void *key) = (void *)1;
static long (*redirect)(void *map, u64 key, u64 flags) = (void *)51;
static u64 (*boot_nanos)(void) = (void *)125;

// By queue: the worker's socket.
struct bpf_map_def SECTION("maps") xsks = { XSKMAP, 4, 4, QUEUES, 0, 0, 0 };
// By queue: CLOCK_BOOTTIME in nanoseconds when the worker last said it lives; 0 = never.
struct bpf_map_def SECTION("maps") heartbeat = { ARRAY, 4, 8, QUEUES, MMAPABLE, 0, 0 };
// 0: how old a heartbeat may be, in nanoseconds. 0 (not yet written) lets nothing through.
struct bpf_map_def SECTION("maps") settings = { ARRAY, 4, 8, 1, 0, 0, 0 };
// By enum counter.
struct bpf_map_def SECTION("maps") counters = { PERCPU_ARRAY, 4, 8, 4, 0, 0, 0 };

enum counter { SEEN, REDIRECTED, STALE, NO_SOCKET };

INLINE void count(u32 which)
{
	u64 *value = lookup(&counters, &which);
	if (value)
		*value += 1;
}

INLINE int fresh(u32 queue)
{
	u32 zero = 0;
	u64 *limit = lookup(&settings, &zero);
	u64 *beat = lookup(&heartbeat, &queue);
	if (!limit || !beat)
		return 0;
	u64 then = *(volatile u64 *)beat;
	if (then == 0 || *limit == 0)
		return 0;
	// Another CPU's clock may be a little ahead of this one's: the distance counts, either way. A beat
	// from the far future is no proof of life.
	u64 now = boot_nanos();
	u64 age = now > then ? now - then : then - now;
	return age <= *limit;
}

SECTION("xdp")
int portcullis(struct xdp_md *ctx)
{
	u32 queue = ctx->rx_queue_index;

	count(SEEN);
	if (!fresh(queue)) {
		count(STALE);
		return XDP_DROP;
	}
	// The low bits of the flags are what comes back when the queue has no socket.
	if (redirect(&xsks, queue, XDP_DROP) != XDP_REDIRECT) {
		count(NO_SOCKET);
		return XDP_DROP;
	}
	count(REDIRECTED);
	return XDP_REDIRECT;
}

// bpf_redirect_map is open to any licence, but kernels ask a GPL-compatible one of some helpers by
// version; this string is on the kernel's list (include/linux/license.h) and true of this file.
char licence_text[] SECTION("license") = "Dual MIT/GPL";
