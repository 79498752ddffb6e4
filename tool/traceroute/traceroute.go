// Package traceroute is the tool that shows the routers on the way to a host:
// traceroute, with the options and lines of Linux's.
//
//	traceroute [-46In] [-f FIRST] [-m MAX] [-q PROBES] [-w SECONDS] [-p PORT] HOST [SIZE]
//
// Probes are datagrams to ports that nobody uses, 33434 and following, or with
// -I echo requests. They are sent one after the other, with a time to live that
// lets them get one router further, which tells by an ICMP error. An answer of
// the target ends it. Marks behind a time are the original's: !N, !H, !P for a
// network, host or protocol that cannot be reached, !X for a filter.
//
// Limits: names of addresses are not looked up. Probes of TCP (-T) and others
// are not known, which [tool.Unknown] says.
package traceroute

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/socket"
	"github.com/towpath/towpath/tool"
	"github.com/towpath/towpath/wire"
)

const (
	portFirst = 33434
	sizeUsual = 60 // of a probe, as an IP packet
	sizeMax   = 65000
)

// Tool is traceroute.
var Tool = tool.Tool{
	Name:  "traceroute",
	Usage: "traceroute [-46In] [-f FIRST] [-m MAX] [-q PROBES] [-w SECONDS] [-p PORT] HOST [SIZE]",
	Short: "shows the routers on the way to a host",
	Parse: Parse,
}

// options are what to send, and how often.
type options struct {
	family     int // 0: whatever the host has first
	echo       bool
	numeric    bool
	first, max int // hops
	probes     int // of each
	port       int
	wait       time.Duration
	target     string
	size       int
	sent       int
}

// Parse reads traceroute's arguments.
func Parse(args []string) (tool.Run, error) {
	o := options{first: 1, max: 30, probes: 3, port: portFirst, wait: 5 * time.Second, size: sizeUsual}
	var rest []string
	for i := 0; i < len(args); i++ {
		letters, ok := strings.CutPrefix(args[i], "-")
		if !ok {
			rest = append(rest, args[i])
			continue
		}
		for k, c := range letters {
			if strings.ContainsRune("fmqpwN", c) {
				value := letters[k+1:]
				if value == "" {
					if i++; i == len(args) {
						return nil, fmt.Errorf("-%c needs a value", c)
					}
					value = args[i]
				}
				if err := o.value(c, value); err != nil {
					return nil, err
				}
				break
			}
			switch c {
			case '4':
				o.family = host.AFInet
			case '6':
				o.family = host.AFInet6
			case 'I':
				o.echo = true
			case 'n':
				o.numeric = true
			default:
				return nil, tool.Unknown("option " + args[i])
			}
		}
	}
	if len(rest) == 2 {
		n, err := strconv.Atoi(rest[1])
		if err != nil || n < 0 || n > sizeMax {
			return nil, fmt.Errorf("size %q is not from 0 to %d", rest[1], sizeMax)
		}
		o.size, rest = n, rest[:1]
	}
	if len(rest) != 1 {
		return nil, errors.New("one host is wanted")
	}
	if o.target = rest[0]; o.first > o.max {
		return nil, fmt.Errorf("the first hop, %d, is behind the last, %d", o.first, o.max)
	}
	return o.run, nil
}

func (o *options) value(c rune, v string) error {
	if c == 'w' {
		s, err := strconv.ParseFloat(v, 64)
		if err != nil || !(s > 0 && s <= 3600) {
			return fmt.Errorf("-w %q is no number of seconds", v)
		}
		o.wait = time.Duration(s * float64(time.Second))
		return nil
	}
	to, most := map[rune]*int{'f': &o.first, 'm': &o.max, 'q': &o.probes, 'p': &o.port, 'N': new(int)}[c], 255
	if c == 'p' {
		most = 65535 - 255*10
	}
	if c == 'q' {
		most = 10
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 || n > most {
		return fmt.Errorf("-%c %q is not from 1 to %d", c, v, most)
	}
	*to = n
	return nil
}

// resolve finds the target's address.
func (o *options) resolve(h *host.Host) (netip.Addr, error) {
	all := []netip.Addr{}
	if a, err := netip.ParseAddr(o.target); err == nil {
		all = append(all, a)
	} else if all, err = h.LookupNetIP(o.target); err != nil {
		return netip.Addr{}, err
	}
	for _, a := range all {
		if o.family == 0 || a.Is4() == (o.family == host.AFInet) {
			return a, nil
		}
	}
	return netip.Addr{}, fmt.Errorf("%s has no address of that family", o.target)
}

func (o options) run(ctx context.Context, e *tool.Env) error {
	to, err := o.resolve(e.Host)
	if err != nil {
		return err
	}
	fmt.Fprintf(e.Stdout, "traceroute to %s (%s), %d hops max, %d byte packets\n", o.target, to, o.max, o.size)
	for ttl := o.first; ttl <= o.max; ttl++ {
		fmt.Fprintf(e.Stdout, "%2d ", ttl)
		done := false
		var last netip.Addr
		for range o.probes {
			r, err := o.probe(ctx, e.Host, to, uint8(ttl))
			if err != nil {
				fmt.Fprintln(e.Stdout)
				return err
			}
			if !r.from.IsValid() {
				fmt.Fprint(e.Stdout, " *")
				continue
			}
			if r.from != last {
				last = r.from
				if o.numeric {
					fmt.Fprintf(e.Stdout, " %s", r.from)
				} else {
					fmt.Fprintf(e.Stdout, " %s (%s)", r.from, r.from)
				}
			}
			fmt.Fprintf(e.Stdout, "  %.3f ms%s", float64(r.took)/float64(time.Millisecond), r.mark)
			done = done || r.last
		}
		fmt.Fprintln(e.Stdout)
		if done {
			return nil
		}
	}
	return nil
}

// An answer is what came of a probe.
type answer struct {
	from netip.Addr // not valid: nothing came
	took time.Duration
	mark string
	last bool // no probe gets further
}

// probe sends one and waits for its answer.
func (o *options) probe(ctx context.Context, h *host.Host, to netip.Addr, ttl uint8) (a answer, err error) {
	family, proto, header := host.AFInet, 0, wire.IPv4Len
	if to.Is6() {
		family, header = host.AFInet6, wire.IPv6Len
	}
	if o.echo {
		proto = int(wire.ProtoICMP)
		if to.Is6() {
			proto = int(wire.ProtoICMPv6)
		}
	}
	s, errno := h.Socket(family, host.SockDgram, proto)
	if errno != 0 {
		return a, errno
	}
	defer s.Close()
	errno = s.SetOptions(func(p *host.SocketOptions) syscall.Errno {
		p.RecvErr, p.RecvErr6 = true, true
		return 0
	})
	if errno != 0 {
		return a, errno
	}
	w := &socket.Watch{C: make(chan struct{}, 1)}
	s.Watch(w)
	defer s.Unwatch(w)
	payload := make([]byte, max(o.size-header-wire.UDPLen, 0))
	port := uint16(o.port + o.sent)
	if o.echo {
		payload, port = o.request(to, header), 0
	}
	o.sent++
	clock := h.Clock()
	sent := clock.Now()
	late := make(chan struct{})
	t := clock.AfterFunc(o.wait, func() { close(late) })
	defer t.Stop()
	if _, errno := s.Send(payload, 0, netip.AddrPortFrom(to, port), &host.PacketInfo{TTL: ttl}); errno != 0 {
		return a, errno
	}
	for {
		if a, ok := o.look(s, to); ok {
			a.took = clock.Now() - sent
			return a, nil
		}
		select {
		case <-w.C:
		case <-late:
			return answer{}, nil
		case <-ctx.Done():
			return answer{}, ctx.Err()
		}
	}
}

// request is an echo request, of which the socket fills in the rest.
func (o *options) request(to netip.Addr, header int) []byte {
	b := make([]byte, max(o.size-header, wire.ICMPLen))
	t := uint8(wire.ICMPv4EchoRequest)
	if to.Is6() {
		t = uint8(wire.ICMPv6EchoRequest)
	}
	wire.PutICMP(b, t, 0, 0, wire.ICMPEcho(0, uint16(o.sent+1)))
	return b
}

// look takes what has come for a socket.
func (o *options) look(s *host.Socket, to netip.Addr) (a answer, ok bool) {
	if _, _, errno := s.Recv(make([]byte, 1), host.MsgTrunc); errno == 0 {
		return answer{from: to, last: true}, true // it has answered
	}
	x, errno := s.RecvError()
	if errno != 0 {
		return a, false
	}
	if !x.Offender.IsValid() {
		return answer{}, true // it did not get away from here
	}
	a = answer{from: x.Offender}
	exceeded, unreachable, port := uint8(11), uint8(3), uint8(3) // RFC 792
	marks := map[uint8]string{0: " !N", 1: " !H", 2: " !P", 9: " !X", 10: " !X", 13: " !X"}
	if x.V6 { // RFC 4443
		exceeded, unreachable, port = 3, 1, 4
		marks = map[uint8]string{0: " !N", 1: " !X", 3: " !H"}
	}
	if x.Type == exceeded {
		return a, true
	}
	if a.last = true; x.Type == unreachable && x.Code != port {
		a.mark = marks[x.Code]
	}
	return a, true
}
