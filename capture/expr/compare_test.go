package expr

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"io"
	"math"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/towpath/towpath/capture/bpf"
	"github.com/towpath/towpath/capture/savefile"
	"github.com/towpath/towpath/wire"
)

var full = flag.Bool("full", false, "compare every expression with libpcap, not a sample")

// linkNames are the names that testdata uses.
var linkNames = map[string]wire.LinkType{
	"EN10MB": EN10MB, "RAW": RAW, "IPV4": IPV4, "IPV6": IPV6, "NULL": NULL, "LOOP": LOOP, "LINUX_SLL": LINUX_SLL, "LINUX_SLL2": LINUX_SLL2,
	"IEEE802_11": IEEE802_11, "IEEE802_11_RADIO": IEEE802_11_RADIO, "PPP": PPP, "PPP_SERIAL": PPP_SERIAL, "C_HDLC": C_HDLC,
	"PPP_PPPD": PPP_PPPD, "PPP_ETHER": PPP_ETHER, "PRISM": PRISM, "IEEE802_11_AVS": IEEE802_11_AVS, "PPI": PPI, "PFLOG": PFLOG,
	"FDDI": FDDI, "IEEE802": IEEE802, "ATM_RFC1483": ATM_RFC1483, "SUNATM": SUNATM, "MTP2": MTP2, "MTP2_WITH_PHDR": MTP2_WITH_PHDR,
	"ERF": ERF, "SLIP": SLIP, "IPNET": IPNET, "FRELAY": FRELAY, "IP_OVER_FC": IP_OVER_FC, "ARCNET": ARCNET, "ARCNET_LINUX": ARCNET_LINUX,
	"NETANALYZER": NETANALYZER, "NETANALYZER_TRANSPARENT": NETANALYZER_TRANSPARENT, "ENC": ENC, "PPP_BSDOS": PPP_BSDOS,
	"SLIP_BSDOS": SLIP_BSDOS, "LTALK": LTALK, "APPLE_IP_OVER_IEEE1394": APPLE_IP_OVER_IEEE1394, "SYMANTEC_FIREWALL": SYMANTEC_FIREWALL,
}

func linkName(l wire.LinkType) string {
	for n, v := range linkNames {
		if v == l {
			return n
		}
	}
	return strconv.Itoa(int(l))
}

// A task is an expression for a link type.
type task struct {
	link wire.LinkType
	expr string
}

func (k task) String() string { return linkName(k.link) + ": " + k.expr }

// tasks reads a file of lines like "EN10MB RAW: tcp port 80".
func tasks(t testing.TB, name string) (list []task) {
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		line := s.Text()
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		links, e, ok := strings.Cut(line, ":")
		if !ok {
			t.Fatalf("%s: bad line %q", name, line)
		}
		for _, l := range strings.Fields(links) {
			v, ok := linkNames[l]
			if n, err := strconv.Atoi(l); err == nil {
				v, ok = wire.LinkType(n), true
			}
			if !ok {
				t.Fatalf("%s: no link type %q", name, l)
			}
			list = append(list, task{v, strings.TrimSpace(e)})
		}
	}
	return list
}

// differences reads which expressions differ from libpcap, and why.
func differences(t testing.TB) func(task) bool {
	m := map[task]bool{}
	for _, k := range tasks(t, "testdata/differences.txt") {
		m[k] = true
	}
	return func(k task) bool { return m[k] || m[task{k.link, "*"}] }
}

// config is how expressions are compiled in tests: as tcpdump -r does.
func config(l wire.LinkType, optimize bool) Config {
	return Config{Link: l, Netmask: netip.IPv4Unspecified(), Optimize: optimize, Names: systemNames}
}

// capturesOf keeps the captures of each link type.
var capturesOf = map[wire.LinkType][]capture{}

func packetsFor(l wire.LinkType) []capture {
	if capturesOf[l] == nil {
		capturesOf[l] = captures(l)
	}
	return capturesOf[l]
}

// verdicts compares two programs on all packets of a link type.
func verdicts(l wire.LinkType, a, b bpf.Program, tolerate bool) error {
	for i, c := range packetsFor(l) {
		for j, p := range c.packets {
			va, oa := interpret(a, p, len(p), meta{})
			vb, ob := interpret(b, p, len(p), meta{})
			if oa > divided || ob > divided {
				return fmt.Errorf("capture %d, packet %d: %d and %d", i, j, oa, ob)
			}
			if va != vb && !(tolerate && oa != returned) {
				return fmt.Errorf("capture %d, packet %d: %d (%d) and %d (%d)\n\t%x", i, j, va, oa, vb, ob, []byte(p))
			}
		}
	}
	return nil
}

// sampled returns a third of the tasks, another one each day, or all of them.
func sampled(t testing.TB, list []task) (some []task) {
	if *full {
		return list
	}
	day := time.Now().YearDay() % 3
	for i, k := range list {
		if i%3 == day {
			some = append(some, k)
		}
	}
	t.Logf("sample %d of 3: %d expressions; -full takes all %d", day, len(some), len(list))
	return some
}

// TestLibpcap compares our programs with libpcap's, both not optimized.
func TestLibpcap(t *testing.T) {
	o := newOracle(t)
	differ := differences(t)
	for _, k := range sampled(t, tasks(t, "testdata/expressions.txt")) {
		if differ(k) {
			continue
		}
		ours, err := Compile(k.expr, config(k.link, false))
		theirs, _, terr := o.compile(k.link, k.expr, false)
		if (err == nil) != (terr == nil) {
			t.Errorf("%v: we say %v, libpcap %v", k, err, terr)
			continue
		}
		if err != nil {
			continue
		}
		if why := valid(ours); why != "" {
			t.Errorf("%v: invalid program: %s", k, why)
			continue
		}
		if err := verdicts(k.link, theirs, ours, false); err != nil {
			t.Errorf("%v: libpcap and we differ: %v", k, err)
		}
	}
}

// TestOptimizer compares programs with what the optimizer makes of them.
func TestOptimizer(t *testing.T) {
	for _, k := range sampled(t, tasks(t, "testdata/expressions.txt")) {
		plain, err := Compile(k.expr, config(k.link, false))
		if err != nil {
			continue
		}
		short, err := Compile(k.expr, config(k.link, true))
		if err != nil {
			t.Errorf("%v: %v", k, err)
			continue
		}
		if why := valid(short); why != "" {
			t.Errorf("%v: invalid program: %s", k, why)
			continue
		}
		if len(short) > len(plain) {
			t.Errorf("%v: %d instructions are optimized to %d", k, len(plain), len(short))
		}
		if err := verdicts(k.link, plain, short, true); err != nil {
			t.Errorf("%v: the optimized program differs: %v", k, err)
		}
	}
}

// TestLength compares the lengths of optimized programs with libpcap's.
func TestLength(t *testing.T) {
	o := newOracle(t)
	differ := differences(t)
	sum, n, longer := 0.0, 0, 0
	for _, k := range tasks(t, "testdata/expressions.txt") {
		theirs, _, err := o.compile(k.link, k.expr, true)
		if err != nil || differ(k) {
			continue // among others "expression rejects all packets"
		}
		ours, err := Compile(k.expr, config(k.link, true))
		if err != nil {
			continue
		}
		if len(ours) > len(theirs) {
			longer++
			if *full {
				t.Logf("%v: %d, libpcap %d", k, len(ours), len(theirs))
			}
		}
		sum += math.Log(float64(len(ours)) / float64(len(theirs)))
		n++
	}
	ratio := math.Exp(sum / float64(n))
	t.Logf("%d programs have %.3f times the length of libpcap's; %d are longer", n, ratio, longer)
	if ratio > 1 {
		t.Errorf("programs are longer than libpcap's by %.3f", ratio)
	}
}

// TestRefused checks that libpcap refuses what we refuse.
func TestRefused(t *testing.T) {
	o := newOracle(t)
	for _, k := range tasks(t, "testdata/refused.txt") {
		if _, err := Compile(k.expr, config(k.link, false)); err == nil {
			t.Errorf("%v: we accept it", k)
		}
		if _, _, err := o.compile(k.link, k.expr, false); err == nil {
			t.Errorf("%v: libpcap accepts it", k)
		}
	}
}

// TestTcpdump gives the same files to tcpdump and to our programs.
func TestTcpdump(t *testing.T) {
	tcpdump, err := exec.LookPath("tcpdump")
	if err != nil {
		t.Skip("no tcpdump to compare with")
	}
	differ := differences(t)
	list := tasks(t, "testdata/expressions.txt")
	step := len(list) / 40
	if *full {
		step /= 8
	}
	files := map[wire.LinkType]string{}
	for i := time.Now().YearDay() % step; i < len(list); i += step {
		k := list[i]
		ours, err := Compile(k.expr, config(k.link, false))
		if err != nil || differ(k) || k.link == LOOP || k.link == ENC {
			continue // of the numbers for IPv6, libpcap takes Linux's for none in a file of BSD's
		}
		if files[k.link] == "" {
			files[k.link] = filepath.Join(t.TempDir(), "packets.pcap")
			w, err := savefile.Create(files[k.link], savefile.Header{Link: k.link})
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range packetsFor(k.link)[0].packets {
				if err := w.WritePacket(time.Unix(0, 0), p, len(p)); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
		}
		out, err := exec.Command(tcpdump, "-O", "-r", files[k.link], "-w", "-", "--", k.expr).Output()
		if err != nil {
			t.Errorf("%v: tcpdump: %v", k, err)
			continue
		}
		r, err := savefile.NewReader(bytes.NewReader(out))
		if err != nil {
			t.Errorf("%v: %v", k, err)
			continue
		}
		for _, p := range packetsFor(k.link)[0].packets {
			if v, _ := interpret(ours, p, len(p), meta{}); v == 0 {
				continue
			}
			if q, err := r.Next(); err != nil || !bytes.Equal(q.Data, p) {
				t.Errorf("%v: tcpdump does not select %x", k, []byte(p))
				break
			}
		}
		if _, err := r.Next(); err != io.EOF {
			t.Errorf("%v: tcpdump selects more", k)
		}
	}
}

// TestSpeed prints how long compiling takes beside libpcap.
func TestSpeed(t *testing.T) {
	if !*full {
		t.Skip("only with -full: it measures time")
	}
	o := newOracle(t)
	sum, n := 0.0, 0
	for _, k := range tasks(t, "testdata/expressions.txt") {
		best := func(once func() (int, error)) (least int) {
			for range 5 {
				ns, err := once()
				if err != nil {
					return 0
				}
				if least == 0 || ns < least {
					least = ns
				}
			}
			return least
		}
		theirs := best(func() (int, error) { _, ns, err := o.compile(k.link, k.expr, true); return ns, err })
		ours := best(func() (int, error) {
			start := time.Now()
			_, err := Compile(k.expr, config(k.link, true))
			return int(time.Since(start)), err
		})
		if theirs > 0 && ours > 0 {
			sum += math.Log(float64(ours) / float64(theirs))
			n++
		}
	}
	t.Logf("compiling and optimizing takes %.2f times as long as libpcap, over %d expressions", math.Exp(sum/float64(n)), n)
}
