// The benchmark rig's kernel half: a generator and a sink for one veth path.
//
// What it is not: a part of the product. It is compiled by whoever needs it (scripts/bench, the rig's
// smoke test) and never shipped.
//
// `generate` runs under BPF_PROG_TEST_RUN with live frames: the kernel hands it the template frame again and
// again, it writes what differs (flow, sequence, time) and redirects the frame into a veth. It paces
// itself: a frame that is not due yet is dropped, which costs some tens of nanoseconds and is not counted.
// `flood` does the same from many templates in turn, with fields that differ from frame to frame.
// `sink_frame` (XDP) and `sink_packet` (TCX) count and time what arrives and end it there; `sort_packet`
// (TCX) counts a flood by its kinds, ends it, and lets what is not of the flood go on to its host.
//
// One generator runs at a time, pinned to one CPU: its state needs no atomics. The sink's is per CPU.
#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#define SEC(name) __attribute__((section(name), used))
#define INLINE static inline __attribute__((always_inline))
#define __uint(name, value) int(*name)[value]
#define __type(name, value) typeof(value) *name

static void *(*map_lookup)(void *map, const void *key) = (void *)BPF_FUNC_map_lookup_elem;
static __u64 (*ktime)(void) = (void *)BPF_FUNC_ktime_get_ns;
static long (*redirect)(__u32 ifindex, __u64 flags) = (void *)BPF_FUNC_redirect;
static __u32 (*random)(void) = (void *)BPF_FUNC_get_prandom_u32;
static long (*adjust_tail)(struct xdp_md *ctx, int by) = (void *)BPF_FUNC_xdp_adjust_tail;

// The frame of traffic.rs: Ethernet 14, IPv4 20, UDP 8, then this.
struct stamp {
	__u16 magic;
	__u64 sequence;
	__u64 sent_at;
} __attribute__((packed));

#define MAGIC 0x4250
#define SOURCE_LOW 28
#define CHECKSUM 24
#define SOURCE_PORT 34
#define STAMP 42
#define LEAST (STAMP + sizeof(struct stamp))

// ---- generator ----------------------------------------------------------------------------------------

struct plan {
	__u64 ifindex;
	__u64 flows;
	// Between two frames, in 1/1024 ns; 0: as fast as possible.
	__u64 gap;
	// Not a frame more than this.
	__u64 frames;
	// Nor one later than this.
	__u64 until;
	// One's-complement sum of the IPv4 header without checksum and low half of the source.
	__u64 sum;
	// Low half of the source of flow 0.
	__u64 source;
};

struct progress {
	__u64 sent;
	// The next frame's time, in 1/1024 ns.
	__u64 due;
	// When the last one was made.
	__u64 sent_at;
	// Nothing more is to come: calls that are left cost as little as they can.
	__u64 over;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct plan);
} PLAN SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct progress);
} PROGRESS SEC(".maps");

INLINE __u16 swap16(__u16 v)
{
	return (__u16)((v << 8) | (v >> 8));
}

// Behind its plan by more than this many frames, the generator lets the rest go: what the machine could
// not offer is not caught up in one blow, and `sent` says what was offered in truth.
#define CATCH_UP 32

// Whether a frame is due; if so, it counts as sent.
INLINE int due(struct plan *plan, struct progress *progress, __u64 now)
{
	if (progress->over)
		return 0;
	if (progress->sent >= plan->frames || now >= plan->until || !plan->flows) {
		progress->over = 1;
		return 0;
	}
	if (plan->gap) {
		__u64 fine = now << 10;
		if (!progress->due)
			progress->due = fine;
		if (fine < progress->due)
			return 0;
		__u64 oldest = fine - CATCH_UP * plan->gap;
		progress->due = (progress->due < oldest ? oldest : progress->due) + plan->gap;
	}
	progress->sent += 1;
	progress->sent_at = now;
	return 1;
}

SEC("xdp") int generate(struct xdp_md *ctx)
{
	__u32 zero = 0;
	struct plan *plan = map_lookup(&PLAN, &zero);
	struct progress *progress = map_lookup(&PROGRESS, &zero);
	char *data = (char *)(long)ctx->data;
	char *end = (char *)(long)ctx->data_end;
	if (!plan || !progress || data + LEAST > end)
		return XDP_ABORTED;
	if (progress->over)
		return XDP_DROP;
	__u64 now = ktime();
	__u64 sequence = progress->sent;
	if (!due(plan, progress, now))
		return XDP_DROP;
	__u64 flow = sequence % plan->flows;
	__u16 low = (__u16)(plan->source + (flow >> 15));
	__u32 sum = (__u32)plan->sum + low;
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	*(__u16 *)(data + SOURCE_LOW) = swap16(low);
	*(__u16 *)(data + CHECKSUM) = swap16((__u16)~sum);
	*(__u16 *)(data + SOURCE_PORT) = swap16((__u16)(1024 + (flow & 0x7fff)));
	struct stamp *stamp = (struct stamp *)(data + STAMP);
	stamp->magic = MAGIC;
	stamp->sequence = sequence;
	stamp->sent_at = now;
	return (int)redirect((__u32)plan->ifindex, 0);
}

// ---- flood --------------------------------------------------------------------------------------------

// A template and what is changed in it, all words at even offsets, as on the wire.
#define LONGEST 128
#define FIELDS 8
#define KINDS 64
#define TURN 1024

// Where a field's bits come from, and which checksums they are part of.
#define FROM_COUNT 1
#define IN_IP 2
#define IN_UPPER 4

struct field {
	__u16 at;
	// These bits change; the template has none of them.
	__u16 mask;
	__u16 how;
	__u16 spare;
};

struct kind {
	__u16 length;
	// Offset of the checksum, 0: none.
	__u16 ip_check;
	__u16 upper_check;
	__u16 fields;
	struct field field[FIELDS];
	__u64 bytes[LONGEST / 8];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, KINDS);
	__type(key, __u32);
	__type(value, struct kind);
} KIND SEC(".maps");

// The kinds in turn; `plan.flows` are how many a turn has.
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, TURN);
	__type(key, __u32);
	__type(value, __u32);
} SCHEDULE SEC(".maps");

// Frames made, by kind.
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, KINDS);
	__type(key, __u32);
	__type(value, __u64);
} MADE SEC(".maps");

// Takes what was added to a frame into a checksum of it (RFC 1624: one's complement, any byte order).
INLINE void mend(char *data, char *end, __u32 at, __u32 added)
{
	char *check = data + (at & (LONGEST - 2));
	if (!at || check + 2 > end)
		return;
	__u32 sum = (__u16)~*(__u16 *)check + (added & 0xffff) + (added >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	*(__u16 *)check = (__u16)~sum;
}

// The template frame has LONGEST bytes; what a frame has fewer is cut off its tail.
SEC("xdp") int flood(struct xdp_md *ctx)
{
	__u32 zero = 0;
	struct plan *plan = map_lookup(&PLAN, &zero);
	struct progress *progress = map_lookup(&PROGRESS, &zero);
	char *data = (char *)(long)ctx->data;
	char *end = (char *)(long)ctx->data_end;
	if (!plan || !progress || data + LONGEST > end)
		return XDP_ABORTED;
	if (progress->over)
		return XDP_DROP;
	__u64 sequence = progress->sent;
	if (!due(plan, progress, ktime()))
		return XDP_DROP;
	__u32 place = (__u32)(sequence % plan->flows);
	__u32 *which = map_lookup(&SCHEDULE, &place);
	struct kind *kind = which ? map_lookup(&KIND, which) : 0;
	__u64 *made = which ? map_lookup(&MADE, which) : 0;
	if (!kind || !made)
		return XDP_ABORTED;
	__u64 *words = (__u64 *)data;
#pragma unroll
	for (int i = 0; i < LONGEST / 8; i++)
		words[i] = kind->bytes[i];
	__u32 in_ip = 0, in_upper = 0;
	for (int i = 0; i < FIELDS; i++) {
		if (i >= kind->fields)
			break;
		struct field *field = &kind->field[i];
		__u16 from = field->how & FROM_COUNT ? swap16((__u16)*made) : (__u16)random();
		from &= field->mask;
		char *to = data + (field->at & (LONGEST - 2));
		if (to + 2 > end)
			return XDP_ABORTED;
		*(__u16 *)to |= from;
		if (field->how & IN_IP)
			in_ip += from;
		if (field->how & IN_UPPER)
			in_upper += from;
	}
	mend(data, end, kind->ip_check, in_ip);
	mend(data, end, kind->upper_check, in_upper);
	*made += 1;
	if (kind->length < LONGEST && adjust_tail(ctx, (int)kind->length - LONGEST))
		return XDP_ABORTED;
	return (int)redirect((__u32)plan->ifindex, 0);
}

// ---- sink ---------------------------------------------------------------------------------------------

enum { FRAMES, BYTES, STRANGERS, REORDERED, LAST, SINK_COUNTS };

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, SINK_COUNTS);
	__type(key, __u32);
	__type(value, __u64);
} SINK SEC(".maps");

// Log-linear: 128 steps to the octave (0.8 %), exact below 128 ns, up to 2^36 ns.
#define STEPS 128
#define STEP_BITS 7
#define OCTAVES 30

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, STEPS * OCTAVES);
	__type(key, __u32);
	__type(value, __u64);
} DELAY SEC(".maps");

INLINE void count(__u32 what, __u64 by)
{
	__u64 *n = map_lookup(&SINK, &what);
	if (n)
		*n += by;
}

INLINE __u32 msb(__u64 v)
{
	__u32 n = 0;
	if (v >> 32) { n += 32; v >>= 32; }
	if (v >> 16) { n += 16; v >>= 16; }
	if (v >> 8) { n += 8; v >>= 8; }
	if (v >> 4) { n += 4; v >>= 4; }
	if (v >> 2) { n += 2; v >>= 2; }
	return n + (v >> 1);
}

// Whether it is the generator's.
INLINE int arrive(char *data, char *end)
{
	if (data + LEAST > end) {
		count(STRANGERS, 1);
		return 0;
	}
	struct stamp *stamp = (struct stamp *)(data + STAMP);
	if (stamp->magic != MAGIC) {
		count(STRANGERS, 1);
		return 0;
	}
	count(FRAMES, 1);
	count(BYTES, (__u64)(end - data));
	__u32 what = LAST;
	__u64 *last = map_lookup(&SINK, &what);
	if (last) {
		if (stamp->sequence && stamp->sequence <= *last)
			count(REORDERED, 1);
		*last = stamp->sequence;
	}
	__u64 delay = ktime() - stamp->sent_at;
	__u32 bucket;
	if (delay < STEPS) {
		bucket = (__u32)delay;
	} else {
		__u32 top = msb(delay);
		bucket = (top - STEP_BITS + 1) * STEPS + (__u32)((delay >> (top - STEP_BITS)) & (STEPS - 1));
	}
	if (bucket >= STEPS * OCTAVES)
		bucket = STEPS * OCTAVES - 1;
	__u64 *n = map_lookup(&DELAY, &bucket);
	if (n)
		*n += 1;
	return 1;
}

SEC("xdp") int sink_frame(struct xdp_md *ctx)
{
	arrive((char *)(long)ctx->data, (char *)(long)ctx->data_end);
	return XDP_DROP;
}

SEC("classifier") int sink_packet(struct __sk_buff *skb)
{
	// What the generator did not make goes on to its host.
	return arrive((char *)(long)skb->data, (char *)(long)skb->data_end) ? TC_ACT_SHOT : TC_ACT_OK;
}

// ---- sorting ------------------------------------------------------------------------------------------

// A frame of a flood has MARK + its kind as TTL or hop limit, which no gate changes.
#define MARK 128
// Behind the kinds: what goes on to the host, and what is neither.
enum { GUEST = KINDS, STRANGE, SORTS };

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, SORTS);
	__type(key, __u32);
	__type(value, __u64);
} SORTED SEC(".maps");

INLINE __u32 sort(unsigned char *data, unsigned char *end)
{
	if (data + 34 > end)
		return STRANGE;
	int v4 = data[12] == 0x08 && data[13] == 0x00;
	int v6 = data[12] == 0x86 && data[13] == 0xdd;
	if (!v4 && !v6)
		return STRANGE;
	__u32 hops = v4 ? data[22] : data[21];
	if (hops >= MARK && hops < MARK + KINDS)
		return hops - MARK;
	return v4 && hops < MARK ? GUEST : STRANGE;
}

SEC("classifier") int sort_packet(struct __sk_buff *skb)
{
	__u32 what = sort((unsigned char *)(long)skb->data, (unsigned char *)(long)skb->data_end);
	__u64 *n = map_lookup(&SORTED, &what);
	if (n)
		*n += 1;
	return what == GUEST ? TC_ACT_OK : TC_ACT_SHOT;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
