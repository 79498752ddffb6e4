// Command goodput measures how much one TCP connection delivers over a link
// that loses, delays and reorders, and compares senders: the kernel's TCP and
// towpath's, both with CUBIC, over the same emulated link.
//
//	go run ./cmd/goodput                          # every cell
//	go run ./cmd/goodput -time 4s -runs 5 -cells 'loss 1%'
//
// The kernel's ends are network namespaces; what happens to packets between
// them is towpath's own netem filter in every pair, with the same seed, so
// that only the ends differ. Time is real: cells are measured in turns, run by
// run, so that what disturbs the machine disturbs all pairs alike.
package main

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/towpath/towpath/lab"
	"github.com/towpath/towpath/lab/machine"
)

var (
	runs     = flag.Int("runs", 5, "measure every pair this many times in each cell")
	duration = flag.Duration("time", 4*time.Second, "length of a measurement")
	cellFlag = flag.String("cells", "", "measure only cells whose impairment matches this `regexp`")
	verbose  = flag.Bool("v", false, "print every measurement")
)

// cells are impairments of what the sender sends; acknowledgments are delayed
// as long and nothing else.
var cells = []struct{ delay, impair string }{
	{"0ms", ""},
	{"5ms", ""},
	{"100ms", ""},
	{"5ms", "reorder 10%"},
	{"5ms", "reorder 30%"},
	{"5ms", "loss 0.1%"},
	{"5ms", "loss 1%"},
	{"5ms", "loss 5%"},
	{"25ms", "loss 0.1%"},
	{"25ms", "loss 1%"},
	{"25ms", "loss 2%, reorder 10%"},
	{"100ms", "loss 1%"},
	{"5ms", "loss 20%"},
}

// A pair is who sends to whom.
type pair struct{ from, to string }

var pairs = []pair{{"machine", "machine"}, {"host", "machine"}, {"host", "host"}}

// roleEnv makes the program an end on a machine: "sink", or "send".
const roleEnv = "TOWPATH_GOODPUT"

const target = "10.0.0.2:7000"

func main() {
	machine.Init()
	flag.Parse()
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "goodput:", err)
		os.Exit(1)
	}
}

func run() error {
	role, length, _ := strings.Cut(os.Getenv(roleEnv), " ")
	if role != "" {
		d, err := time.ParseDuration(length)
		if err != nil {
			return err
		}
		*duration = d
	}
	switch role {
	case "sink":
		l, err := net.Listen("tcp", target)
		if err != nil {
			return err
		}
		return sink(l)
	case "send":
		d := net.Dialer{Control: cubic}
		rate, err := send(context.Background(), d.DialContext)
		if err == nil {
			fmt.Println(rate)
		}
		return err
	}
	return compare()
}

// cubic chooses the kernel's controller.
func cubic(_, _ string, c syscall.RawConn) (err error) {
	if e := c.Control(func(fd uintptr) {
		err = unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, "cubic")
	}); e != nil {
		return e
	}
	return err
}

// compare measures all and prints a table: Mbit/s of the kernel's pair, and
// what the others reach of it.
func compare() error {
	only, err := regexp.Compile(*cellFlag)
	if err != nil {
		return err
	}
	fmt.Println("| delay, each way | link | kernel to kernel, Mbit/s | host to kernel | host to host |")
	fmt.Println("|---|---|--:|--:|--:|")
	var logs [2]float64
	n := 0
	for _, c := range cells {
		impair := "delay " + c.delay
		if c.impair != "" {
			impair += ", " + c.impair
		}
		if !only.MatchString(impair) {
			continue
		}
		rates := make([][]float64, len(pairs))
		for r := range *runs {
			for i, p := range pairs {
				rate, err := measure(p, c.delay, impair, r+1)
				if err != nil {
					return fmt.Errorf("%s, %s to %s: %w", impair, p.from, p.to, err)
				}
				if *verbose {
					fmt.Fprintf(os.Stderr, "%s, %s to %s: %.2f Mbit/s\n", impair, p.from, p.to, rate*8/1e6)
				}
				rates[i] = append(rates[i], rate)
			}
		}
		base := median(rates[0])
		a, b := median(rates[1])/base, median(rates[2])/base
		link := c.impair
		if link == "" {
			link = "nothing else"
		}
		fmt.Printf("| %s | %s | %.2f | %.2f | %.2f |\n", c.delay, link, base*8/1e6, a, b)
		if !strings.Contains(impair, "loss 20%") {
			logs[0] += math.Log(a)
			logs[1] += math.Log(b)
			n++
		}
	}
	if n > 0 {
		fmt.Printf("| | geometric mean without 20 %% loss | | %.2f | %.2f |\n", math.Exp(logs[0]/float64(n)), math.Exp(logs[1]/float64(n)))
	}
	return nil
}

func median(x []float64) float64 {
	slices.Sort(x)
	return (x[(len(x)-1)/2] + x[len(x)/2]) / 2
}

// measure makes a lab of the pair and returns its goodput in bytes per second.
func measure(p pair, delay, impair string, seed int) (rate float64, err error) {
	spec, err := lab.Parse("goodput.yaml", fmt.Appendf(nil, `
seed: %d
nodes:
  a: {kind: %s, addresses: {eth0: 10.0.0.1/24}}
  b: {kind: %s, addresses: {eth0: 10.0.0.2/24}}
links:
  - endpoints: ["a:eth0", "b:eth0"]
    impair: {"a->b": "%s, limit 100000", "b->a": "delay %s, limit 100000"}
`, seed, p.from, p.to, impair, delay))
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), *duration+30*time.Second)
	defer cancel()
	n, err := lab.Up(ctx, spec, lab.Options{Output: os.Stderr})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, n.Close(ctx)) }()

	if p.to == "machine" {
		sink, err := start(ctx, n.Machine("b"), "sink", io.Discard)
		if err != nil {
			return 0, err
		}
		defer sink.Wait()
		defer sink.Signal(os.Kill)
	} else {
		l, err := n.Host("b").Listen("tcp", target)
		if err != nil {
			return 0, err
		}
		defer l.Close()
		go sink(l)
	}
	if p.from == "host" {
		return send(ctx, n.Host("a").DialContext)
	}
	var out strings.Builder
	sender, err := start(ctx, n.Machine("a"), "send", &out)
	if err != nil {
		return 0, err
	}
	if err := sender.Wait(); err != nil {
		return 0, err
	}
	return strconv.ParseFloat(strings.TrimSpace(out.String()), 64)
}

// start runs this program on a machine.
func start(ctx context.Context, m *machine.Machine, role string, out io.Writer) (*machine.Process, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	env := append(os.Environ(), roleEnv+"="+role+" "+duration.String())
	return m.Exec(ctx, machine.Cmd{Args: []string{exe}, Env: env, Stdout: out, Stderr: os.Stderr})
}

// sink counts for a while what arrives on each connection, and answers with
// the bytes per second.
func sink(l net.Listener) error {
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			buf := make([]byte, 256<<10)
			began, got := time.Now(), 0
			c.SetReadDeadline(began.Add(*duration))
			for {
				n, err := c.Read(buf)
				got += n
				if err != nil || time.Since(began) >= *duration {
					break
				}
			}
			rate := float64(got) / time.Since(began).Seconds()
			c.Write(binary.BigEndian.AppendUint64(nil, math.Float64bits(rate)))
			c.SetReadDeadline(time.Now().Add(10 * time.Second))
			io.Copy(io.Discard, c) // lest closing resets the connection before the answer is there
		}()
	}
}

// send sends zeros until the sink answers, and returns what it says.
func send(ctx context.Context, dial func(ctx context.Context, network, address string) (net.Conn, error)) (float64, error) {
	var c net.Conn
	var err error
	for range 100 { // until the sink listens
		if c, err = dial(ctx, "tcp", target); err == nil {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if err != nil {
		return 0, err
	}
	defer c.Close()
	go func() {
		buf := make([]byte, 256<<10)
		for {
			if _, err := c.Write(buf); err != nil {
				return
			}
		}
	}()
	var answer [8]byte
	if _, err := io.ReadFull(c, answer[:]); err != nil {
		return 0, err
	}
	return math.Float64frombits(binary.BigEndian.Uint64(answer[:])), nil
}
