//go:build linux

// Package sockd serves one host's sockets to other programs over a unix socket,
// call by call, as lines of JSON: the door by which packet-script suites and
// differential testers from outside drive a host.
//
// # Theory of operation
//
//	suite --- RPC: one JSON line a call ---> Server --> posix.Process --> host
//	suite <-- link: one raw IP packet a message ------------------------> host
//
// The host has one adapter, whose packets have no link header. It is a
// connection of a SOCK_SEQPACKET socket, or a TUN device. Before a call is
// executed all packets that the suite has sent are processed, so that a script
// sees what it has injected.
//
// Each connection of the RPC socket executes its calls one after the other; one
// that waits holds up its own connection only.
//
// With a virtual clock time stands still but for the calls sleep and
// next_packet, which run every timer on the way in order.
package sockd

import (
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/towpath/towpath/clock"
	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/ip/route"
	"github.com/towpath/towpath/posix"
	"github.com/towpath/towpath/socket"
)

// A Config says what a Server serves. Exactly one of Link and Tun is set.
type Config struct {
	RPC     string         // unix stream socket to make
	Link    string         // unix SOCK_SEQPACKET socket to make
	Tun     string         // existing TUN device
	Local   []netip.Prefix // the host's addresses
	MTU     int            // bytes; 0 means 1500
	Virtual bool           // the clock is virtual
}

// A Server is one host with its doors.
type Server struct {
	h    *host.Host
	p    *posix.Process
	port *port
	rpc  net.Listener
	link int // listening descriptor, -1 with a TUN device

	virtual *clock.Virtual
	timeMu  sync.Mutex // one moves the clock at a time
	outMu   sync.Mutex
	left    [][]byte // packets that have left since next_packet was called, if it was
	keep    bool

	mu    sync.Mutex
	conns map[net.Conn]struct{}
	wg    sync.WaitGroup
}

// Listen makes a server.
func Listen(c Config) (*Server, error) {
	if c.MTU == 0 {
		c.MTU = 1500
	}
	if c.MTU < 68 || c.MTU > packetMax {
		return nil, fmt.Errorf("an MTU of %d: it is between 68 and %d bytes", c.MTU, packetMax)
	}
	if (c.Link == "") == (c.Tun == "") {
		return nil, errors.New("either a link socket or a TUN device is needed")
	}
	s := &Server{link: -1, conns: make(map[net.Conn]struct{}), port: newPort(c.MTU)}
	hc := host.Config{Name: "sockd", Settings: host.Settings{NoAutoconf: true}}
	if c.Virtual {
		s.virtual = clock.NewVirtual(time.Unix(1_700_000_000, 0))
		hc.Clock = s.virtual
	}
	s.port.sent = s.sent
	s.h = host.New(hc)
	s.p = posix.New(s.h)
	err := s.open(&c)
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Server) open(c *Config) error {
	if _, err := s.h.AddAdapter("eth0", s.port); err != nil {
		return err
	}
	for _, a := range c.Local {
		if err := s.h.AddAddress("eth0", a); err != nil {
			return err
		}
	}
	for _, dst := range []string{"0.0.0.0/0", "::/0"} {
		if err := s.h.AddRoute(route.Route{Dst: netip.MustParsePrefix(dst), Adapter: s.h.Adapter("eth0").Index()}); err != nil {
			return err
		}
	}
	if c.Tun != "" {
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("/dev/net/tun: %w", err)
		}
		ifr, err := unix.NewIfreq(c.Tun)
		if err == nil {
			ifr.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
			err = unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr)
		}
		if err != nil {
			unix.Close(fd)
			return fmt.Errorf("TUN device %s: %w", c.Tun, err)
		}
		s.port.connect(fd)
		s.wg.Go(func() { s.port.run(fd) })
	} else {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		os.Remove(c.Link)
		if err := errors.Join(unix.Bind(fd, &unix.SockaddrUnix{Name: c.Link}), unix.Listen(fd, 1)); err != nil {
			unix.Close(fd)
			return fmt.Errorf("%s: %w", c.Link, err)
		}
		s.link = fd
	}
	os.Remove(c.RPC)
	l, err := net.Listen("unix", c.RPC)
	s.rpc = l
	return err
}

// sent sees what leaves.
func (s *Server) sent(b []byte) {
	if s.virtual == nil {
		return
	}
	s.outMu.Lock()
	if s.keep {
		s.left = append(s.left, append([]byte(nil), b...))
	}
	s.outMu.Unlock()
}

// Serve answers calls until Close.
func (s *Server) Serve() error {
	if s.link >= 0 {
		s.wg.Go(s.acceptLink)
	}
	for {
		c, err := s.rpc.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		s.mu.Lock()
		s.conns[c] = struct{}{}
		s.mu.Unlock()
		s.wg.Go(func() {
			s.serve(c)
			s.mu.Lock()
			delete(s.conns, c)
			s.mu.Unlock()
			c.Close()
		})
	}
}

// acceptLink takes the suite's connections to the link, the newest of which
// counts.
func (s *Server) acceptLink() {
	for {
		fd, _, err := unix.Accept4(s.link, unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
		if err == unix.EINTR || err == unix.ECONNABORTED {
			continue
		}
		if err != nil {
			return
		}
		s.port.connect(fd)
		s.wg.Go(func() { s.port.run(fd) })
	}
}

// Close ends the server and its host.
func (s *Server) Close() error {
	var errs []error
	if s.rpc != nil {
		errs = append(errs, s.rpc.Close())
	}
	if s.link >= 0 {
		unix.Shutdown(s.link, unix.SHUT_RDWR)
		errs = append(errs, unix.Close(s.link))
	}
	s.mu.Lock()
	for c := range s.conns {
		c.Close()
	}
	s.mu.Unlock()
	s.p.CloseAll()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return errors.Join(append(errs, s.h.Close(ctx))...)
}

// lineMax bounds a request, in bytes.
const lineMax = 1 << 20

// serve executes a connection's calls.
func (s *Server) serve(c net.Conn) {
	r := bufio.NewReaderSize(c, lineMax)
	w := json.NewEncoder(c)
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			if err == bufio.ErrBufferFull {
				w.Encode(failure("", syscall.EMSGSIZE, "a request longer than 1 MiB"))
			} else if err == io.EOF && len(strings.TrimSpace(string(line))) > 0 {
				w.Encode(failure("", syscall.EINVAL, "a request without a line feed"))
			}
			return
		}
		if w.Encode(s.answer(line)) != nil {
			return
		}
	}
}

// A cmsg is a control message in JSON.
type cmsg struct {
	Level int    `json:"level"`
	Type  int    `json:"type"`
	Data  string `json:"data"`
}

// A request is one call.
type request struct {
	Op    string  `json:"op"`
	FD    int     `json:"fd"`
	A     []int64 `json:"a"`
	Fam   int     `json:"fam"`
	IP    string  `json:"ip"`
	Port  int     `json:"port"`
	Data  string  `json:"data"`
	Cmsg  []cmsg  `json:"cmsg"`
	T     int64   `json:"t"`
	Name  string  `json:"name"`
	Value *string `json:"value"`
}

// A reply is what it returned.
type reply struct {
	Ret   int64           `json:"ret"`
	Errno int             `json:"errno"`
	Error string          `json:"error,omitempty"`
	Fam   *int            `json:"fam,omitempty"`
	IP    string          `json:"ip,omitempty"`
	Port  *int            `json:"port,omitempty"`
	Data  *string         `json:"data,omitempty"`
	Cmsg  []cmsg          `json:"cmsg,omitempty"`
	Val   *int64          `json:"val,omitempty"`
	Value *string         `json:"value,omitempty"`
	Rev   []socket.Events `json:"rev,omitempty"`
	Ev    []uint64        `json:"ev,omitempty"`
}

func failure(what string, e syscall.Errno, text string) *reply {
	if what != "" {
		text = what + ": " + text
	}
	return &reply{Ret: -1, Errno: int(e), Error: text}
}

// answer executes the call in a line.
func (s *Server) answer(line []byte) *reply {
	var q request
	d := json.NewDecoder(strings.NewReader(string(line)))
	d.DisallowUnknownFields()
	if err := d.Decode(&q); err != nil {
		return failure("", syscall.EINVAL, strings.TrimPrefix(err.Error(), "json: "))
	}
	if d.More() {
		return failure("", syscall.EINVAL, "more than one value in a line")
	}
	s.port.pump()
	op := ops[q.Op]
	if op == nil {
		return failure(q.Op, syscall.ENOSYS, "no such call")
	}
	r := new(reply)
	if e := op(s, &q, r); e != 0 {
		r.Ret, r.Errno = -1, int(e)
	}
	return r
}

// arg is a numeric argument; missing ones are 0.
func (q *request) arg(i int) int {
	if i < len(q.A) {
		return int(q.A[i])
	}
	return 0
}

// addr is the address in a request.
func (q *request) addr() (a posix.Addr, e syscall.Errno) {
	a.Family = q.Fam
	if q.Fam == posix.AF_UNSPEC {
		return a, 0
	}
	ip := q.IP
	if ip == "" {
		if ip = "0.0.0.0"; q.Fam == posix.AF_INET6 {
			ip = "::"
		}
	}
	x, err := netip.ParseAddr(ip)
	if err != nil || q.Port < 0 || q.Port > 65535 {
		return a, syscall.EINVAL
	}
	if q.Fam == posix.AF_INET6 && x.Is4() {
		x = netip.AddrFrom16(x.As16())
	}
	a.AddrPort = netip.AddrPortFrom(x, uint16(q.Port))
	return a, 0
}

func (r *reply) addr(a posix.Addr) {
	if a.Family == posix.AF_UNSPEC || !a.IsValid() {
		return
	}
	port := int(a.Port())
	r.Fam, r.IP, r.Port = &a.Family, a.Addr().String(), &port
}

func (r *reply) data(b []byte) {
	text := hex.EncodeToString(b)
	r.Data = &text
}

func (q *request) bytes() ([]byte, syscall.Errno) {
	b, err := hex.DecodeString(q.Data)
	if err != nil {
		return nil, syscall.EINVAL
	}
	return b, 0
}

// millis is a timeout; negative: none.
func millis(n int64) time.Duration {
	if n < 0 {
		return -1
	}
	return time.Duration(n) * time.Millisecond
}

type operation func(s *Server, q *request, r *reply) syscall.Errno

var ops map[string]operation

func init() {
	ops = map[string]operation{
		"socket": func(s *Server, q *request, r *reply) syscall.Errno {
			fd, e := s.p.Socket(q.FD, q.arg(0), q.arg(1), q.arg(2))
			r.Ret = int64(fd)
			return e
		},
		"bind": func(s *Server, q *request, r *reply) syscall.Errno {
			a, e := q.addr()
			if e != 0 {
				return e
			}
			return s.p.Bind(q.FD, a)
		},
		"connect": func(s *Server, q *request, r *reply) syscall.Errno {
			a, e := q.addr()
			if e != 0 {
				return e
			}
			return s.p.Connect(q.FD, a)
		},
		"listen": func(s *Server, q *request, r *reply) syscall.Errno { return s.p.Listen(q.FD, q.arg(0)) },
		"accept": func(s *Server, q *request, r *reply) syscall.Errno {
			want := -1
			if len(q.A) > 0 {
				want = q.arg(0)
			}
			fd, a, e := s.p.Accept(q.FD, want, q.arg(1))
			r.Ret = int64(fd)
			r.addr(a)
			return e
		},
		"recv": func(s *Server, q *request, r *reply) syscall.Errno {
			n := q.arg(0)
			if n < 0 || n > lineMax/4 {
				return syscall.EINVAL
			}
			m, e := s.p.Recv(q.FD, make([]byte, n), q.arg(1))
			if e != 0 {
				return e
			}
			r.Ret = int64(m.N)
			r.data(m.Data[:min(m.N, n)])
			r.addr(m.From)
			for _, c := range m.Ctl {
				r.Cmsg = append(r.Cmsg, cmsg{c.Level, c.Type, hex.EncodeToString(c.Data)})
			}
			return 0
		},
		"send": func(s *Server, q *request, r *reply) syscall.Errno {
			b, e := q.bytes()
			if e != 0 {
				return e
			}
			if n := q.arg(0); len(q.A) > 0 && n >= 0 && n < len(b) {
				b = b[:n]
			} else if n > len(b) && n <= lineMax {
				b = append(b, make([]byte, n-len(b))...)
			}
			a, e := q.addr()
			if e != 0 {
				return e
			}
			var ctl []posix.Cmsg
			for _, c := range q.Cmsg {
				d, err := hex.DecodeString(c.Data)
				if err != nil {
					return syscall.EINVAL
				}
				ctl = append(ctl, posix.Cmsg{Level: c.Level, Type: c.Type, Data: d})
			}
			n, e := s.p.Send(q.FD, b, q.arg(1), a, ctl)
			r.Ret = int64(n)
			return e
		},
		"fcntl": func(s *Server, q *request, r *reply) syscall.Errno {
			n, e := s.p.Fcntl(q.FD, q.arg(0), q.arg(1))
			r.Ret = int64(n)
			return e
		},
		"ioctl": func(s *Server, q *request, r *reply) syscall.Errno {
			n, e := s.p.Ioctl(q.FD, q.arg(0))
			v := int64(n)
			if e == 0 {
				r.Val = &v
			}
			return e
		},
		"shutdown": func(s *Server, q *request, r *reply) syscall.Errno { return s.p.Shutdown(q.FD, q.arg(0)) },
		"close":    func(s *Server, q *request, r *reply) syscall.Errno { return s.p.Close(q.FD) },
		"getsockopt": func(s *Server, q *request, r *reply) syscall.Errno {
			size := 4
			if len(q.A) > 2 {
				size = q.arg(2)
			}
			b, e := s.p.GetSockOpt(q.FD, q.arg(0), q.arg(1), size)
			if e == 0 {
				r.data(b)
			}
			return e
		},
		"setsockopt": func(s *Server, q *request, r *reply) syscall.Errno {
			b, e := q.bytes()
			if e != 0 {
				return e
			}
			return s.p.SetSockOpt(q.FD, q.arg(0), q.arg(1), b)
		},
		"getsockname": func(s *Server, q *request, r *reply) syscall.Errno {
			a, e := s.p.GetSockName(q.FD)
			r.addr(a)
			return e
		},
		"getpeername": func(s *Server, q *request, r *reply) syscall.Errno {
			a, e := s.p.GetPeerName(q.FD)
			r.addr(a)
			return e
		},
		"poll": func(s *Server, q *request, r *reply) syscall.Errno {
			if len(q.A)%2 != 0 {
				return syscall.EINVAL
			}
			fds := make([]posix.PollFD, len(q.A)/2)
			for i := range fds {
				fds[i] = posix.PollFD{FD: q.arg(2 * i), Events: socket.Events(q.arg(2*i + 1))}
			}
			n, e := s.p.Poll(fds, millis(q.T))
			r.Ret = int64(n)
			r.Rev = make([]socket.Events, len(fds))
			for i := range fds {
				r.Rev[i] = fds[i].Revents
			}
			return e
		},
		"epoll_create": func(s *Server, q *request, r *reply) syscall.Errno {
			fd, e := s.p.EpollCreate(q.FD)
			r.Ret = int64(fd)
			return e
		},
		"epoll_ctl": func(s *Server, q *request, r *reply) syscall.Errno {
			return s.p.EpollCtl(q.FD, q.arg(0), q.arg(1), uint32(q.arg(2)), uint64(q.arg(3)))
		},
		"epoll_wait": func(s *Server, q *request, r *reply) syscall.Errno {
			evs, e := s.p.EpollWait(q.FD, q.arg(0), millis(int64(q.arg(1))))
			r.Ret = int64(len(evs))
			for _, ev := range evs {
				r.Ev = append(r.Ev, uint64(ev.Events), ev.Data)
			}
			return e
		},
		"sysctl": func(s *Server, q *request, r *reply) syscall.Errno {
			if q.Value != nil {
				return s.h.SetSysctl(q.Name, *q.Value)
			}
			v, e := s.h.Sysctl(q.Name)
			if e == 0 {
				r.Value = &v
			}
			return e
		},
		"now":         (*Server).now,
		"sleep":       (*Server).sleep,
		"next_packet": (*Server).nextPacket,
	}
}

func (s *Server) now(_ *request, r *reply) syscall.Errno {
	us := int64(s.h.Clock().Now() / time.Microsecond)
	r.Val = &us
	return 0
}

// sleep moves the clock, or waits if it is a real one.
func (s *Server) sleep(q *request, _ *reply) syscall.Errno {
	d := time.Duration(q.arg(0)) * time.Microsecond
	if d < 0 {
		return syscall.EINVAL
	}
	if s.virtual == nil {
		time.Sleep(d)
		return 0
	}
	s.timeMu.Lock()
	defer s.timeMu.Unlock()
	s.settle()
	s.virtual.Advance(d)
	s.settle()
	return 0
}

// settle gives calls that were waiting and have been woken time to go on: their
// goroutines run in real time, which the virtual clock knows nothing of.
func (s *Server) settle() { time.Sleep(200 * time.Microsecond) }

// nextPacketMax bounds how far next_packet looks.
const nextPacketMax = 10 * time.Minute

// nextPacket moves the clock until a packet leaves, and returns it.
func (s *Server) nextPacket(_ *request, r *reply) syscall.Errno {
	if s.virtual == nil {
		return syscall.ENOSYS
	}
	s.timeMu.Lock()
	defer s.timeMu.Unlock()
	s.outMu.Lock()
	s.keep, s.left = true, nil
	s.outMu.Unlock()
	defer func() {
		s.outMu.Lock()
		s.keep, s.left = false, nil
		s.outMu.Unlock()
	}()
	s.settle()
	end := s.virtual.Now() + nextPacketMax
	for {
		s.outMu.Lock()
		if len(s.left) > 0 {
			r.data(s.left[0])
			s.outMu.Unlock()
			return 0
		}
		s.outMu.Unlock()
		at, ok := s.virtual.Next()
		if !ok || at > end {
			return syscall.ETIMEDOUT
		}
		s.virtual.Advance(max(at-s.virtual.Now(), 0))
		s.settle()
	}
}
