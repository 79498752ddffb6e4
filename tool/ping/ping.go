// Package ping is the tool that asks whether a host answers, and how fast:
// ping [-c COUNT] [-i INTERVAL] [-s SIZE] [-t TTL] [-W WAIT] ADDRESS, with the
// words and the report of Linux's.
//
// Limits: it pings until it is stopped only with -c 0; without -c it sends
// four requests, because it mostly runs where nobody could press Ctrl-C.
package ping

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math"
	"net"
	"net/netip"
	"syscall"
	"time"

	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/tool"
)

// Tool is ping.
var Tool = tool.Tool{
	Name:  "ping",
	Usage: "ping [-c COUNT] [-i INTERVAL] [-s SIZE] [-t TTL] [-W WAIT] ADDRESS",
	Short: "sends ICMP echo requests and reports the answers",
	Parse: func(args []string) (tool.Run, error) {
		p, err := Parse(args)
		if err != nil {
			return nil, err
		}
		return p.Run, nil
	},
}

// Ping is what to send, how often and to whom.
type Ping struct {
	Target   string
	Count    int           // 0: until stopped
	Interval time.Duration // between requests
	Wait     time.Duration // for a reply
	Size     int           // payload bytes
	TTL      int           // 0: the host's
}

// Parse reads ping's arguments.
func Parse(args []string) (*Ping, error) {
	p := &Ping{}
	interval, wait := seconds(time.Second), seconds(2*time.Second)
	f := flag.NewFlagSet("ping", flag.ContinueOnError)
	f.IntVar(&p.Count, "c", 4, "")
	f.IntVar(&p.Size, "s", 56, "")
	f.IntVar(&p.TTL, "t", 0, "")
	f.Var(&interval, "i", "")
	f.Var(&wait, "W", "")
	rest, err := tool.ParseFlags(f, args)
	p.Interval, p.Wait = time.Duration(interval), time.Duration(wait)
	switch {
	case err != nil:
		return nil, err
	case len(rest) != 1:
		return nil, fmt.Errorf("one address is wanted, there are %d", len(rest))
	case p.Count < 0:
		return nil, fmt.Errorf("%d is no number of requests", p.Count)
	case p.Size < 1 || p.Size > 65507:
		return nil, fmt.Errorf("size %d is not from 1 to 65507", p.Size)
	case p.TTL < 0 || p.TTL > 255:
		return nil, fmt.Errorf("TTL %d is not from 1 to 255", p.TTL)
	}
	p.Target = rest[0]
	return p, nil
}

// seconds is a flag for a duration: a number of seconds or a Go duration.
type seconds time.Duration

func (s *seconds) String() string { return time.Duration(*s).String() }

func (s *seconds) Set(v string) error {
	d, err := time.ParseDuration(v)
	if err != nil {
		d, err = time.ParseDuration(v + "s")
	}
	if err != nil || d <= 0 {
		return errors.New("not a time")
	}
	*s = seconds(d)
	return nil
}

// stats is what the last lines of the report tell.
type stats struct {
	sent, received  int
	least, sum, max time.Duration
	squares         float64 // of milliseconds
}

func (s *stats) add(rtt time.Duration) {
	if s.received == 0 || rtt < s.least {
		s.least = rtt
	}
	s.received++
	s.sum += rtt
	s.max = max(s.max, rtt)
	s.squares += ms(rtt) * ms(rtt)
}

func ms(d time.Duration) float64 { return float64(d) / 1e6 }

// Run pings. It returns an error if nobody answered.
func (p *Ping) Run(ctx context.Context, e *tool.Env) error {
	addr, err := resolve(e.Host, p.Target)
	if err != nil {
		return err
	}
	fmt.Fprintf(e.Stdout, "PING %s (%s) %d bytes of data.\n", p.Target, addr, p.Size)
	clock := e.Host.Clock()
	begin := clock.Now()
	var s stats
	id := e.Host.PingID()
	for seq := 1; p.Count == 0 || seq <= p.Count; seq++ {
		next := make(chan struct{})
		t := clock.AfterFunc(p.Interval, func() { close(next) })
		s.sent++
		p.once(ctx, e, addr, id, seq, &s)
		if p.Count == 0 || seq < p.Count {
			select {
			case <-next:
			case <-ctx.Done():
			}
		}
		t.Stop()
		if ctx.Err() != nil {
			break
		}
	}
	s.report(e, p.Target, clock.Now()-begin)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case s.received == 0:
		return fmt.Errorf("no answer from %s", p.Target)
	}
	return nil
}

func resolve(h *host.Host, target string) (netip.Addr, error) {
	if a, err := netip.ParseAddr(target); err == nil {
		return a, nil
	}
	all, err := h.LookupNetIP(target)
	if err != nil {
		return netip.Addr{}, err
	}
	return all[0], nil
}

func (p *Ping) once(ctx context.Context, e *tool.Env, addr netip.Addr, id uint16, seq int, s *stats) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	late := make(chan struct{})
	t := e.Host.Clock().AfterFunc(p.Wait, func() { close(late); cancel() })
	defer t.Stop()
	r, err := e.Host.Ping(ctx, addr, host.PingOptions{Size: p.Size, TTL: uint8(p.TTL), Seq: uint16(seq), ID: id})
	if err == nil {
		s.add(r.RTT)
		fmt.Fprintf(e.Stdout, "%d bytes from %s: icmp_seq=%d ttl=%d time=%.3g ms\n", r.Bytes, r.From, seq, r.TTL, ms(r.RTT))
		return
	}
	select {
	case <-late:
		fmt.Fprintf(e.Stdout, "no answer to icmp_seq=%d\n", seq)
	default:
		if ctx.Err() == nil {
			fmt.Fprintf(e.Stdout, "icmp_seq=%d %s\n", seq, reason(err))
		}
	}
}

// reason is what an error of Ping says, in ping's words.
func reason(err error) string {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		switch errno {
		case syscall.EHOSTUNREACH:
			return "Destination Host Unreachable"
		case syscall.ENETUNREACH:
			return "Destination Net Unreachable"
		}
	}
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err.Error()
	}
	return err.Error()
}

func (s *stats) report(e *tool.Env, target string, took time.Duration) {
	fmt.Fprintf(e.Stdout, "--- %s ping statistics ---\n", target)
	fmt.Fprintf(e.Stdout, "%d packets transmitted, %d received, %.3g%% packet loss, time %dms\n",
		s.sent, s.received, 100*float64(s.sent-s.received)/float64(s.sent), took.Milliseconds())
	if s.received > 0 {
		mean := ms(s.sum) / float64(s.received)
		dev := math.Sqrt(max(s.squares/float64(s.received)-mean*mean, 0))
		fmt.Fprintf(e.Stdout, "rtt min/avg/max/mdev = %.3f/%.3f/%.3f/%.3f ms\n", ms(s.least), mean, ms(s.max), dev)
	}
}
