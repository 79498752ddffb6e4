package host_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/towpath/towpath/host"
)

// A stack is package net on this machine's loopback, or a host's.
type stack interface {
	Listen(network, address string) (net.Listener, error)
	ListenPacket(network, address string) (net.PacketConn, error)
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
}

type netStack struct{ net.Dialer }

func (netStack) Listen(n, a string) (net.Listener, error)         { return net.Listen(n, a) }
func (netStack) ListenPacket(n, a string) (net.PacketConn, error) { return net.ListenPacket(n, a) }

// describe says everything of an error that a program can tell, but for
// addresses.
func describe(err error) string {
	if err == nil {
		return "ok"
	}
	var s []string
	if op, ok := err.(*net.OpError); ok {
		s = append(s, fmt.Sprintf("OpError(%s %s src=%v addr=%v)", op.Op, op.Net, op.Source != nil, op.Addr != nil))
		if sys, ok := op.Err.(*os.SyscallError); ok {
			s = append(s, "SyscallError("+sys.Syscall+")")
		}
	}
	for _, e := range []error{io.EOF, net.ErrClosed, os.ErrDeadlineExceeded, context.Canceled, context.DeadlineExceeded,
		syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.EPIPE, syscall.EADDRINUSE, syscall.EADDRNOTAVAIL, syscall.ENOTCONN, syscall.EINVAL, syscall.EMSGSIZE} {
		if errors.Is(err, e) {
			s = append(s, "is "+e.Error())
		}
	}
	var ne net.Error
	if errors.As(err, &ne) {
		s = append(s, fmt.Sprintf("timeout=%v", ne.Timeout()))
	}
	last := err
	for errors.Unwrap(last) != nil {
		last = errors.Unwrap(last)
	}
	return strings.Join(append(s, last.Error()), ", ")
}

// duplex is a pair of connected conns of a stack.
func duplex(t *testing.T, s stack) (client, server net.Conn) {
	l, err := s.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	c, err := s.DialContext(context.Background(), "tcp", l.Addr().String())
	must(t, err)
	server, err = l.Accept()
	must(t, err)
	t.Cleanup(func() { c.Close(); server.Close() })
	return c, server
}

const (
	soon = 30 * time.Millisecond
	long = 10 * time.Second
)

var past = time.Unix(1, 0)

// netCases are what programs do to conns and the errors they then see: each
// runs on package net and on a host, and must say the same.
var netCases = []struct {
	name string
	run  func(t *testing.T, s stack) []error
}{
	{"read after close", func(t *testing.T, s stack) []error {
		c, _ := duplex(t, s)
		c.Close()
		_, err := c.Read(make([]byte, 1))
		return []error{err}
	}},
	{"write after close", func(t *testing.T, s stack) []error {
		c, _ := duplex(t, s)
		c.Close()
		_, err := c.Write(make([]byte, 1))
		return []error{err}
	}},
	{"close twice", func(t *testing.T, s stack) []error {
		c, _ := duplex(t, s)
		return []error{c.Close(), c.Close()}
	}},
	{"deadline after close", func(t *testing.T, s stack) []error {
		c, _ := duplex(t, s)
		c.Close()
		return []error{c.SetDeadline(time.Now())}
	}},
	{"option after close", func(t *testing.T, s stack) []error {
		c, _ := duplex(t, s)
		c.Close()
		return []error{c.(interface{ SetNoDelay(bool) error }).SetNoDelay(true)}
	}},
	{"eof", func(t *testing.T, s stack) []error {
		c, p := duplex(t, s)
		p.Write([]byte("x"))
		p.Close()
		_, err1 := io.ReadFull(c, make([]byte, 1))
		_, err2 := c.Read(make([]byte, 1))
		_, err3 := c.Read(make([]byte, 1))
		return []error{err1, err2, err3}
	}},
	{"empty read and write", func(t *testing.T, s stack) []error {
		c, _ := duplex(t, s)
		_, err1 := c.Read(nil)
		_, err2 := c.Write(nil)
		return []error{err1, err2}
	}},
	{"reset", func(t *testing.T, s stack) []error {
		c, p := duplex(t, s)
		p.(interface{ SetLinger(int) error }).SetLinger(0)
		p.Close()
		_, err1 := c.Read(make([]byte, 1))
		_, err2 := c.Read(make([]byte, 1))
		_, err3 := c.Write(make([]byte, 1))
		return []error{err1, err2, err3}
	}},
	{"reset by unread data", func(t *testing.T, s stack) []error {
		c, p := duplex(t, s)
		c.Write([]byte("never read"))
		time.Sleep(soon)
		p.Close()
		_, err1 := c.Read(make([]byte, 1))
		_, err2 := c.Write(make([]byte, 1))
		return []error{err1, err2}
	}},
	{"data before reset", func(t *testing.T, s stack) []error {
		c, p := duplex(t, s)
		c.Write([]byte("never read"))
		p.Write([]byte("last words"))
		time.Sleep(soon)
		p.Close()
		time.Sleep(soon)
		_, err1 := c.Read(make([]byte, 4))
		return []error{err1}
	}},
	{"half close", func(t *testing.T, s stack) []error {
		c, p := duplex(t, s)
		err1 := c.(interface{ CloseWrite() error }).CloseWrite()
		_, err2 := p.Read(make([]byte, 1))
		_, err3 := p.Write([]byte("x"))
		_, err4 := c.Read(make([]byte, 1))
		_, err5 := c.Write([]byte("x"))
		return []error{err1, err2, err3, err4, err5}
	}},
	{"close read", func(t *testing.T, s stack) []error {
		c, p := duplex(t, s)
		err1 := c.(interface{ CloseRead() error }).CloseRead()
		_, err2 := c.Read(make([]byte, 1))
		_, err3 := c.Write([]byte("x"))
		_, err4 := p.Read(make([]byte, 1))
		return []error{err1, err2, err3, err4}
	}},
	{"write to a closed peer", func(t *testing.T, s stack) []error {
		c, p := duplex(t, s)
		p.Close()
		time.Sleep(soon)
		_, err1 := c.Write([]byte("x"))
		time.Sleep(soon)
		_, err2 := c.Write([]byte("x"))
		_, err3 := c.Read(make([]byte, 1))
		return []error{err1, err2, err3}
	}},
	{"past deadline", func(t *testing.T, s stack) []error {
		c, p := duplex(t, s)
		p.Write([]byte("there"))
		time.Sleep(soon)
		c.SetDeadline(past)
		_, err1 := c.Read(make([]byte, 1))
		_, err2 := c.Write([]byte("x"))
		c.SetDeadline(time.Time{})
		_, err3 := c.Read(make([]byte, 1))
		_, err4 := c.Write([]byte("x"))
		return []error{err1, err2, err3, err4}
	}},
	{"read deadline", func(t *testing.T, s stack) []error {
		c, _ := duplex(t, s)
		c.SetReadDeadline(time.Now().Add(soon))
		_, err1 := c.Read(make([]byte, 1))
		_, err2 := c.Read(make([]byte, 1))
		_, err3 := c.Write([]byte("x"))
		return []error{err1, err2, err3}
	}},
	{"write deadline", func(t *testing.T, s stack) []error {
		c, _ := duplex(t, s)
		c.SetWriteDeadline(time.Now().Add(10 * soon))
		var err error
		for err == nil {
			_, err = c.Write(make([]byte, 1<<20))
		}
		return []error{err}
	}},
	{"deadline set while reading", func(t *testing.T, s stack) []error {
		c, _ := duplex(t, s)
		time.AfterFunc(soon, func() { c.SetReadDeadline(past) })
		_, err := c.Read(make([]byte, 1))
		return []error{err}
	}},
	{"deadline moved later while reading", func(t *testing.T, s stack) []error {
		c, p := duplex(t, s)
		c.SetReadDeadline(time.Now().Add(30 * soon))
		time.AfterFunc(soon, func() { c.SetReadDeadline(time.Now().Add(long)) })
		time.AfterFunc(40*soon, func() { p.Write([]byte("x")) })
		_, err := c.Read(make([]byte, 1))
		return []error{err}
	}},
	{"closed while reading and writing", func(t *testing.T, s stack) []error {
		c, _ := duplex(t, s)
		var wg sync.WaitGroup
		var err1, err2 error
		wg.Go(func() { _, err1 = c.Read(make([]byte, 1)) })
		wg.Go(func() {
			for err2 == nil {
				_, err2 = c.Write(make([]byte, 1<<20))
			}
		})
		time.Sleep(3 * soon)
		c.Close()
		wg.Wait()
		return []error{err1, err2}
	}},
	{"refused", func(t *testing.T, s stack) []error {
		l, err := s.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		l.Close()
		_, err = s.DialContext(context.Background(), "tcp", l.Addr().String())
		return []error{err}
	}},
	{"dial cancelled before", func(t *testing.T, s stack) []error {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_, err := s.DialContext(ctx, "tcp", "127.0.0.1:1")
		return []error{err}
	}},
	{"dial unknown network", func(t *testing.T, s stack) []error {
		_, err1 := s.DialContext(context.Background(), "tcp5", "127.0.0.1:1")
		_, err2 := s.DialContext(context.Background(), "tcp", "127.0.0.1")
		_, err3 := s.DialContext(context.Background(), "tcp", "127.0.0.1:65536")
		_, err4 := s.DialContext(context.Background(), "tcp6", "127.0.0.1:1")
		return []error{err1, err2, err3, err4}
	}},
	{"listen twice", func(t *testing.T, s stack) []error {
		l, err := s.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		defer l.Close()
		_, err = s.Listen("tcp", l.Addr().String())
		return []error{err}
	}},
	{"listen elsewhere", func(t *testing.T, s stack) []error {
		_, err1 := s.Listen("tcp", "192.0.2.1:0")
		_, err2 := s.ListenPacket("udp", "192.0.2.1:0")
		_, err3 := s.Listen("udp", "127.0.0.1:0")
		return []error{err1, err2, err3}
	}},
	{"accept after close", func(t *testing.T, s stack) []error {
		l, err := s.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		err1 := l.Close()
		_, err2 := l.Accept()
		return []error{err1, err2, l.Close()}
	}},
	{"closed while accepting", func(t *testing.T, s stack) []error {
		l, err := s.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		time.AfterFunc(soon, func() { l.Close() })
		_, err = l.Accept()
		return []error{err}
	}},
	{"accept deadline", func(t *testing.T, s stack) []error {
		l, err := s.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		defer l.Close()
		l.(interface{ SetDeadline(time.Time) error }).SetDeadline(time.Now().Add(soon))
		_, err = l.Accept()
		return []error{err}
	}},
	{"accept a connection that was reset", func(t *testing.T, s stack) []error {
		l, err := s.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		defer l.Close()
		c, err := s.DialContext(context.Background(), "tcp", l.Addr().String())
		must(t, err)
		time.Sleep(soon)
		c.(interface{ SetLinger(int) error }).SetLinger(0)
		c.Close()
		time.Sleep(soon)
		p, err1 := l.Accept()
		must(t, err1)
		defer p.Close()
		_, err2 := p.Read(make([]byte, 1))
		return []error{err1, err2}
	}},
	{"backlogged connections are reset on close", func(t *testing.T, s stack) []error {
		l, err := s.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		c, err := s.DialContext(context.Background(), "tcp", l.Addr().String())
		must(t, err)
		defer c.Close()
		time.Sleep(soon)
		l.Close()
		_, err = c.Read(make([]byte, 1))
		return []error{err}
	}},
	{"udp after close", func(t *testing.T, s stack) []error {
		c, err := s.ListenPacket("udp", "127.0.0.1:0")
		must(t, err)
		err1 := c.Close()
		_, _, err2 := c.ReadFrom(make([]byte, 1))
		_, err3 := c.WriteTo([]byte("x"), c.LocalAddr())
		return []error{err1, err2, err3, c.Close()}
	}},
	{"udp deadline", func(t *testing.T, s stack) []error {
		c, err := s.ListenPacket("udp", "127.0.0.1:0")
		must(t, err)
		defer c.Close()
		c.SetReadDeadline(time.Now().Add(soon))
		_, _, err1 := c.ReadFrom(make([]byte, 1))
		c.WriteTo([]byte("x"), c.LocalAddr())
		_, _, err2 := c.ReadFrom(make([]byte, 1))
		c.SetReadDeadline(time.Time{})
		_, _, err3 := c.ReadFrom(make([]byte, 1))
		return []error{err1, err2, err3}
	}},
	{"udp closed while reading", func(t *testing.T, s stack) []error {
		c, err := s.ListenPacket("udp", "127.0.0.1:0")
		must(t, err)
		time.AfterFunc(soon, func() { c.Close() })
		_, _, err = c.ReadFrom(make([]byte, 1))
		return []error{err}
	}},
	{"udp refused", func(t *testing.T, s stack) []error {
		l, err := s.ListenPacket("udp", "127.0.0.1:0")
		must(t, err)
		l.Close()
		c, err := s.DialContext(context.Background(), "udp", l.LocalAddr().String())
		must(t, err)
		defer c.Close()
		_, err1 := c.Write([]byte("x"))
		time.Sleep(soon)
		_, err2 := c.Read(make([]byte, 1))
		return []error{err1, err2}
	}},
	{"udp write to a connected socket", func(t *testing.T, s stack) []error {
		c, err := s.DialContext(context.Background(), "udp", "127.0.0.1:9")
		must(t, err)
		defer c.Close()
		_, err = c.(net.PacketConn).WriteTo([]byte("x"), &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9})
		return []error{err}
	}},
	{"udp too long", func(t *testing.T, s stack) []error {
		c, err := s.ListenPacket("udp", "127.0.0.1:0")
		must(t, err)
		defer c.Close()
		_, err = c.WriteTo(make([]byte, 65508), c.LocalAddr())
		return []error{err}
	}},
}

// overIPv6 is a stack of which 127.0.0.1 is ::1.
type overIPv6 struct{ stack }

func six(address string) string { return strings.Replace(address, "127.0.0.1", "[::1]", 1) }

func (s overIPv6) Listen(n, a string) (net.Listener, error) { return s.stack.Listen(n, six(a)) }
func (s overIPv6) ListenPacket(n, a string) (net.PacketConn, error) {
	return s.stack.ListenPacket(n, six(a))
}
func (s overIPv6) DialContext(ctx context.Context, n, a string) (net.Conn, error) {
	return s.stack.DialContext(ctx, n, six(a))
}

// TestLikeNet compares a host's conns with package net's, over both families.
func TestLikeNet(t *testing.T) {
	families := map[string]func(stack) stack{
		"IPv4": func(s stack) stack { return s },
		"IPv6": func(s stack) stack { return overIPv6{s} },
	}
	for _, c := range netCases {
		for family, over := range families {
			t.Run(c.name+"/"+family, func(t *testing.T) {
				t.Parallel()
				if l, err := net.Listen("tcp", "[::1]:0"); family == "IPv6" && err != nil {
					t.Skipf("needs IPv6 on this machine's loopback to compare with: %v", err)
				} else if err == nil {
					l.Close()
				}
				h := host.New(host.Config{Name: "h"})
				defer func() { must(t, h.Close(context.Background())) }()
				want, got := c.run(t, over(new(netStack))), c.run(t, over(h))
				for i := range want {
					if w, g := describe(want[i]), describe(got[i]); w != g {
						t.Errorf("error %d:\n  host %s\n  net  %s", i, g, w)
					}
				}
			})
		}
	}
}
