// Package nc is the tool that connects its input and output with a TCP
// connection or a UDP peer: nc, with the options and words of OpenBSD's.
//
//	nc [-46Nnuv] [-p PORT] [-s ADDRESS] [-w SECONDS] HOST PORT
//	nc -z [-46nuv] [-w SECONDS] HOST PORT[-PORT]…
//	nc -l [-46kNuv] [-w SECONDS] [ADDRESS] PORT
//
// It ends when the peer has ended the connection. The end of the input ends our
// direction with -N only. With -w it ends too when nothing comes for so long,
// or no connection is made.
//
// Limits: no proxies, unix sockets, TLS or telnet, which [tool.Unknown] says.
// UDP ports of -z count as open if nobody says otherwise within a moment.
package nc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/tool"
)

const (
	datagramMax = 65535
	pieceMax    = 16 << 10
	probeWait   = time.Second // of a UDP port of -z
	lastInput   = time.Second // for what is left of the input once the peer has ended
)

// Tool is nc.
var Tool = tool.Tool{
	Name:  "nc",
	Usage: "nc [-46klNnuvz] [-p PORT] [-s ADDRESS] [-w SECONDS] [HOST] [PORT]",
	Short: "connects its input and output with a host",
	Parse: Parse,
}

// options are what is to be done.
type options struct {
	listen, keep, udp, zero, verbose, endWrite bool

	family string // "", "4" or "6"
	from   string // address
	port   string // local
	wait   time.Duration
	host   string
	first  int // of the ports
	last   int
}

// Parse reads nc's arguments.
func Parse(args []string) (tool.Run, error) {
	var o options
	var rest []string
	for i := 0; i < len(args); i++ {
		letters, ok := strings.CutPrefix(args[i], "-")
		if !ok || letters == "" {
			rest = append(rest, args[i])
			continue
		}
		for k, c := range letters {
			if strings.ContainsRune("psw", c) {
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
			if !o.set(c) {
				return nil, tool.Unknown(fmt.Sprintf("option -%c", c))
			}
		}
	}
	if err := o.target(rest); err != nil {
		return nil, err
	}
	if o.listen {
		return o.serve, nil
	}
	return o.connect, nil
}

func (o *options) set(c rune) bool {
	switch c {
	case '4', '6':
		o.family = string(c)
	case 'l':
		o.listen = true
	case 'k':
		o.keep = true
	case 'u':
		o.udp = true
	case 'z':
		o.zero = true
	case 'v':
		o.verbose = true
	case 'N':
		o.endWrite = true
	case 'n', 'd':
	default:
		return false
	}
	return true
}

func (o *options) value(c rune, v string) error {
	switch c {
	case 'p':
		o.port = v
	case 's':
		if _, err := netip.ParseAddr(v); err != nil {
			return fmt.Errorf("-s %q is no address", v)
		}
		o.from = v
	case 'w':
		n, err := strconv.ParseUint(v, 10, 31)
		if err != nil || n == 0 {
			return fmt.Errorf("timeout %q is no number of seconds", v)
		}
		o.wait = time.Duration(n) * time.Second
	}
	return nil
}

// target reads what stands behind the options.
func (o *options) target(rest []string) error {
	switch {
	case o.listen && len(rest) == 0 && o.port != "":
		rest = []string{o.port}
	case o.listen && len(rest) == 2:
		o.host, rest = rest[0], rest[1:]
	case !o.listen && len(rest) == 2:
		o.host, rest = rest[0], rest[1:]
	case !o.listen && len(rest) != 2:
		return errors.New("a host and a port are wanted")
	}
	if len(rest) != 1 {
		return errors.New("a port is wanted")
	}
	first, last, several := strings.Cut(rest[0], "-")
	if !several {
		last = first
	}
	var err [2]error
	o.first, err[0] = strconv.Atoi(first)
	o.last, err[1] = strconv.Atoi(last)
	if errors.Join(err[:]...) != nil || o.first < 1 || o.last > 65535 || o.first > o.last || several && !o.zero {
		return fmt.Errorf("port %q is none", rest[0])
	}
	return nil
}

func (o *options) network() string {
	if o.udp {
		return "udp" + o.family
	}
	return "tcp" + o.family
}

// connect is nc as a client.
func (o *options) connect(ctx context.Context, e *tool.Env) error {
	failed := 0
	for port := o.first; port <= o.last; port++ {
		if err := o.to(ctx, e, port); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			failed++
			if o.verbose || !o.zero {
				fmt.Fprintf(e.Stderr, "nc: connect to %s port %d (%s) failed: %s\n", o.host, port, strings.TrimRight(o.network(), "46"), reason(err))
			}
		}
	}
	if failed == o.last-o.first+1 {
		return tool.ExitStatus(1)
	}
	return nil
}

// to connects with one port.
func (o *options) to(ctx context.Context, e *tool.Env, port int) error {
	dial := ctx
	if o.wait > 0 {
		var cancel context.CancelFunc
		dial, cancel = context.WithTimeout(ctx, o.wait)
		defer cancel()
	}
	c, err := e.Host.DialContext(dial, o.network(), net.JoinHostPort(o.host, strconv.Itoa(port)))
	if err != nil {
		return err
	}
	defer c.Close()
	if o.zero && o.udp {
		if err := o.probe(c); err != nil {
			return err
		}
	}
	if o.verbose {
		fmt.Fprintf(e.Stderr, "Connection to %s %d port [%s/*] succeeded!\n", o.host, port, strings.TrimRight(o.network(), "46"))
	}
	if o.zero {
		return nil
	}
	o.exchange(ctx, e, c)
	return ctx.Err()
}

// probe sends a datagram and waits for somebody to refuse it.
func (o *options) probe(c net.Conn) error {
	for range 2 {
		if _, err := c.Write([]byte("X")); err != nil {
			return err
		}
		c.SetReadDeadline(time.Now().Add(probeWait / 2))
		if _, err := c.Read(make([]byte, 1)); err == nil || !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
	}
	return nil
}

// exchange copies between the connection and the tool's input and output until
// the peer has ended, or nothing has come for the time of -w.
func (o *options) exchange(ctx context.Context, e *tool.Env, c net.Conn) {
	defer context.AfterFunc(ctx, func() { c.Close() })()
	fed := make(chan struct{})
	go func() {
		defer close(fed)
		if e.Stdin != nil {
			b := make([]byte, pieceMax)
			for {
				n, err := e.Stdin.Read(b)
				if n > 0 {
					if _, werr := c.Write(b[:n]); werr != nil {
						return
					}
				}
				if err != nil {
					break
				}
			}
		}
		if t, ok := c.(*host.TCPConn); ok && o.endWrite {
			t.CloseWrite()
		}
	}()
	b := make([]byte, datagramMax)
	for {
		if o.wait > 0 {
			c.SetReadDeadline(time.Now().Add(o.wait))
		}
		n, err := c.Read(b)
		if n > 0 {
			e.Stdout.Write(b[:n])
		}
		if err == nil {
			continue
		}
		if errors.Is(err, io.EOF) {
			select {
			case <-fed:
			case <-ctx.Done():
			case <-time.After(lastInput):
			}
		}
		return
	}
}

// serve is nc as a server.
func (o *options) serve(ctx context.Context, e *tool.Env) error {
	address := net.JoinHostPort(o.host, strconv.Itoa(o.first))
	if o.udp {
		return o.serveUDP(ctx, e, address)
	}
	l, err := e.Host.Listen(o.network(), address)
	if err != nil {
		return errors.New(reason(err))
	}
	defer l.Close()
	defer context.AfterFunc(ctx, func() { l.Close() })()
	o.tell(e, "Listening on %s %s\n", l.Addr())
	for {
		c, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return err
		}
		o.tell(e, "Connection received on %s %s\n", c.RemoteAddr())
		o.exchange(ctx, e, c)
		c.Close()
		if !o.keep || ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// tell says something of an address if -v is given.
func (o *options) tell(e *tool.Env, format string, a net.Addr) {
	if o.verbose {
		addr, port, _ := net.SplitHostPort(a.String())
		fmt.Fprintf(e.Stderr, format, addr, port)
	}
}

// serveUDP answers the first peer that sends something.
func (o *options) serveUDP(ctx context.Context, e *tool.Env, address string) error {
	p, err := e.Host.ListenPacket(o.network(), address)
	if err != nil {
		return errors.New(reason(err))
	}
	defer p.Close()
	defer context.AfterFunc(ctx, func() { p.Close() })()
	o.tell(e, "Bound on %s %s\n", p.LocalAddr())
	b := make([]byte, datagramMax)
	var peer net.Addr
	for {
		if o.wait > 0 && peer != nil {
			p.SetReadDeadline(time.Now().Add(o.wait))
		}
		n, from, err := p.ReadFrom(b)
		if err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				return nil
			}
			return ctx.Err()
		}
		e.Stdout.Write(b[:n])
		if peer == nil {
			peer = from
			o.tell(e, "Connection received on %s %s\n", from)
			go answer(e, p, from)
		}
	}
}

// answer sends the tool's input to a peer.
func answer(e *tool.Env, p net.PacketConn, to net.Addr) {
	if e.Stdin == nil {
		return
	}
	b := make([]byte, pieceMax)
	for {
		n, err := e.Stdin.Read(b)
		if n > 0 {
			if _, err := p.WriteTo(b[:n], to); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// reason is an error in the words of the original.
func reason(err error) string {
	var errno syscall.Errno
	switch {
	case errors.As(err, &errno):
		text := errno.Error()
		return strings.ToUpper(text[:1]) + text[1:]
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return "Operation timed out"
	case errors.Is(err, io.EOF):
		return "Connection closed"
	}
	return err.Error()
}
