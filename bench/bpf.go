package bench

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	xbpf "golang.org/x/net/bpf"

	"github.com/towpath/towpath/capture/bpf"
	"github.com/towpath/towpath/capture/expr"
	"github.com/towpath/towpath/capture/jit"
)

func init() {
	for _, f := range []struct{ name, expression string }{
		{"ip", "ip"},
		{"less", "less 128"},
		{"subnet", "src net 10.0.0.0/8"},
		{"web", "tcp port 80"},
		{"ports", "dst port 80 or dst port 443 or dst port 8080 or dst port 53"},
		{"host", "host 10.0.0.1 and tcp and not port 22"},
		{"dns6", "ip6 and udp port 53"},
		{"flags", "tcp[tcpflags] & (tcp-syn+tcp-fin) != 0"},
		{"range", "tcp portrange 1024-4999 or udp portrange 1-1023"},
		{"payload", "tcp port 80 and (((ip[2:2] - ((ip[0]&0xf)<<2)) - ((tcp[12]&0xf0)>>2)) != 0)"},
		{"tagged", "vlan and (tcp port 443 or icmp)"},
		{"quiet", "not arp and not port 22 and not port 53 and not port 123 and not icmp and not icmp6 and not net 10.1.0.0/16"},
	} {
		prog, err := expr.Compile(f.expression, expr.Config{Link: expr.EN10MB, Optimize: true})
		check(err)
		aim := 1.0
		if len(prog) >= 15 {
			aim = 3
		}
		register(Line{
			Name: "bpf-" + f.name, Title: fmt.Sprintf("filter %q, %d instructions", f.expression, len(prog)), Unit: "packets/s of a processor",
			Terms: "One thread filters 256 packets of a mixed kind in turn, by one program that capture/expr has compiled. " +
				"jit gets them as a batch, the others one by one; libpcap is its bpf_filter, called by C. " +
				"What counts is the processor time used.",
			Contenders: map[string]func(*Run) float64{
				"jit": func(r *Run) float64 {
					f, batch := native(prog), make([]jit.Packet, 0, frames)
					for _, p := range traffic() {
						batch = append(batch, jit.Packet{Data: p, WireLen: len(p)})
					}
					return r.filter(prog, func([][]byte) (kept int) {
						f.RunBatch(batch)
						for i := range batch {
							if batch[i].Keep != 0 {
								kept++
							}
						}
						return kept
					})
				},
				"jit-alone": func(r *Run) float64 {
					f := native(prog)
					return r.filter(prog, func(ps [][]byte) (kept int) {
						for _, p := range ps {
							if f.Run(p, len(p), nil) != 0 {
								kept++
							}
						}
						return kept
					})
				},
				"machine": func(r *Run) float64 {
					m, err := bpf.Compile(prog)
					check(err)
					return r.filter(prog, func(ps [][]byte) (kept int) {
						for _, p := range ps {
							if m.Run(p, len(p), nil) != 0 {
								kept++
							}
						}
						return kept
					})
				},
				"xnet": func(r *Run) float64 {
					raw := make([]xbpf.RawInstruction, len(prog))
					for i, in := range prog {
						raw[i] = xbpf.RawInstruction{Op: in.Op, Jt: in.Jt, Jf: in.Jf, K: in.K}
					}
					list, _ := xbpf.Disassemble(raw)
					vm, err := xbpf.NewVM(list)
					check(err)
					return r.filter(prog, func(ps [][]byte) (kept int) {
						for _, p := range ps {
							if n, _ := vm.Run(p); n != 0 {
								kept++
							}
						}
						return kept
					})
				},
				"libpcap": func(r *Run) float64 { return r.libpcap(prog) },
			},
			Targets: []Target{
				{Ours: "jit", Peer: "libpcap", Aim: aim},
				{Ours: "jit-alone", Peer: "libpcap", Aim: 1},
				{Ours: "machine", Peer: "libpcap", Aim: 1 / 1.3},
				{Ours: "jit", Peer: "xnet", Aim: 3},
				{Ours: "machine", Peer: "xnet", Aim: 1},
			},
		})
	}
}

// native makes machine code or panics.
func native(p bpf.Program) *jit.Filter {
	f, err := jit.Compile(p)
	check(err)
	if !f.Native() {
		panic("no machine code here")
	}
	return f
}

// filter measures how many packets pass filters in a second of processor time. pass returns how many
// it has kept of all packets.
func (r *Run) filter(prog bpf.Program, pass func([][]byte) int) float64 {
	ps := traffic()
	if kept, want := pass(ps), r.kept(prog, ps); kept != want {
		panic(fmt.Sprintf("%d of %d packets are kept, %d should be", kept, len(ps), want))
	}
	for begin := time.Now(); time.Since(begin) < r.Warm; {
		pass(ps)
	}
	passes, cpu := 0, cpuTime()
	for begin := time.Now(); time.Since(begin) < r.Time; passes++ {
		pass(ps)
	}
	return float64(passes*len(ps)) / (cpuTime() - cpu).Seconds()
}

// kept is how many packets a program keeps.
func (r *Run) kept(prog bpf.Program, ps [][]byte) (n int) {
	m, err := bpf.Compile(prog)
	check(err)
	for _, p := range ps {
		if m.Run(p, len(p), nil) != 0 {
			n++
		}
	}
	r.Note("kept", float64(n)/float64(len(ps)))
	return n
}

// libpcapSource reads how long to warm up and to measure in nanoseconds, a
// program as tcpdump -ddd has it, the number of packets, and each as its length
// in two bytes and itself. It prints how many are kept and how many a second it
// filters.
const libpcapSource = `
#include <pcap/pcap.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
static struct bpf_insn prog[4096];
static u_char *packet[4096];
static u_int length[4096];
static unsigned n;
static double now(clockid_t clock) {
	struct timespec t;
	clock_gettime(clock, &t);
	return t.tv_sec + t.tv_nsec * 1e-9;
}
static unsigned pass(void) {
	unsigned kept = 0;
	for (unsigned i = 0; i < n; i++)
		kept += bpf_filter(prog, packet[i], length[i], length[i]) != 0;
	return kept;
}
int main(void) {
	long warm, span;
	unsigned len, total = 0, passes = 0;
	scanf("%ld %ld %u", &warm, &span, &len);
	for (unsigned i = 0; i < len; i++) {
		unsigned code, jt, jf, k;
		scanf("%u %u %u %u", &code, &jt, &jf, &k);
		prog[i] = (struct bpf_insn){code, jt, jf, k};
	}
	scanf("%u", &n);
	getchar();
	u_char *all = malloc(n * 2048);
	for (unsigned i = 0; i < n; i++) {
		length[i] = getchar() << 8;
		length[i] |= getchar();
		packet[i] = all + total;
		total += length[i];
		fread(packet[i], 1, length[i], stdin);
	}
	unsigned kept = pass();
	double begin = now(CLOCK_MONOTONIC);
	while (now(CLOCK_MONOTONIC) - begin < warm * 1e-9)
		pass();
	double cpu = now(CLOCK_PROCESS_CPUTIME_ID);
	for (begin = now(CLOCK_MONOTONIC); now(CLOCK_MONOTONIC) - begin < span * 1e-9; passes++)
		pass();
	printf("%u %f\n", kept, (double)passes * n / (now(CLOCK_PROCESS_CPUTIME_ID) - cpu));
}
`

// buildLibpcap makes the program of libpcapSource in a directory. libpcap is
// linked into it, which saves calls a detour.
func buildLibpcap(dir string) (file string, err error) {
	file = filepath.Join(dir, "filter")
	if err := os.WriteFile(file+".c", []byte(libpcapSource), 0o600); err != nil {
		return "", err
	}
	if out, err := exec.Command("gcc", "-O2", "-w", "-o", file, file+".c", "-l:libpcap.a").CombinedOutput(); err != nil {
		return "", fmt.Errorf("%v; needs gcc and libpcap-dev\n%s", err, out)
	}
	return file, nil
}

func (r *Run) libpcap(prog bpf.Program) float64 {
	dir, err := os.MkdirTemp("", "bench-bpf")
	check(err)
	defer os.RemoveAll(dir)
	file, err := buildLibpcap(dir)
	check(err)
	ps := traffic()
	in := fmt.Appendf(nil, "%d %d %s%d\n", r.Warm, r.Time, prog.Decimal(), len(ps))
	for _, p := range ps {
		in = append(binary.BigEndian.AppendUint16(in, uint16(len(p))), p...)
	}
	cmd := exec.Command(file)
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in), os.Stderr
	out, err := cmd.Output()
	check(err)
	kept, rate, _ := strings.Cut(strings.TrimSpace(string(out)), " ")
	if want := r.kept(prog, ps); kept != strconv.Itoa(want) {
		panic(fmt.Sprintf("libpcap keeps %s packets, %d should be", kept, want))
	}
	v, err := strconv.ParseFloat(rate, 64)
	check(err)
	return v
}

// frames is how many packets traffic has.
const frames = 256

// traffic is a mixture of Ethernet frames, the same each time: mostly TCP and
// UDP over IPv4, a fifth of IPv6, some with options, tags, fragments, and some
// of other protocols.
func traffic() (list [][]byte) {
	r := rand.New(rand.NewPCG(1, 2))
	one := func(of ...int) int { return of[r.IntN(len(of))] }
	be := binary.BigEndian.AppendUint16
	for range frames {
		b := make([]byte, 12, 1514)
		if r.IntN(10) == 0 {
			b = be(be(b, 0x8100), uint16(r.IntN(4)))
		}
		kind := r.IntN(20)
		if kind == 0 {
			b = append(be(b, 0x0806), 0, 1, 8, 0, 6, 4, 0, 1)
			list = append(list, append(b, make([]byte, 38)...))
			continue
		}
		size := one(0, 0, 0, 20, 64, 512, 1300, 1400)
		proto := byte(one(6, 6, 6, 6, 17, 17, 17, 1))
		if kind < 5 {
			if proto == 1 {
				proto = 58
			}
			b = append(be(b, 0x86dd), 0x60, 0, 0, 0)
			b = append(be(b, uint16(20+size)), proto, 64)
			for range 2 {
				b = append(b, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, byte(one(1, 2, 3)))
			}
		} else {
			options := one(0, 0, 0, 0, 0, 0, 0, 1)
			fragment := one(0x4000, 0x4000, 0x4000, 0x4000, 0x4000, 0x4000, 0, 0x2000, 0x00b9)
			b = append(be(b, 0x0800), byte(0x45+options), 0)
			b = be(be(be(b, uint16(40+4*options+size)), uint16(r.IntN(65536))), uint16(fragment))
			b = append(b, 64, proto, 0, 0)
			for range 2 {
				b = append(b, byte(one(10, 10, 192)), byte(one(0, 1, 168)), 0, byte(one(1, 1, 2, 3)))
			}
			b = append(b, make([]byte, 4*options)...)
		}
		near, away := one(1024+r.IntN(50000), 1024+r.IntN(50000), 22), one(80, 80, 443, 443, 443, 8080, 22, 53, 53, 123)
		if r.IntN(2) == 0 {
			near, away = away, near
		}
		b = be(be(b, uint16(near)), uint16(away))
		b = append(b, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, byte(one(0x10, 0x10, 0x18, 0x18, 2, 0x12, 0x11)), 1, 0, 0, 0, 0, 0)
		list = append(list, append(b, make([]byte, max(0, size, 60-len(b)))...))
	}
	return list
}
