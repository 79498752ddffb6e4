// Package echo is the service that sends back what it gets, over TCP and UDP
// (RFC 862), on port 7.
package echo

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"

	"github.com/towpath/towpath/service"
)

const (
	portUsual   = 7
	datagramMax = 65535
	connsMax    = 1024 // served at once; more are refused
)

// Service is echo.
var Service = service.Service{
	Name:  "echo",
	Usage: "echo",
	Short: "sends back what it gets, over TCP and UDP",
	Parse: func(args []string, o service.Options) (service.Start, error) {
		if len(args) > 0 {
			return nil, fmt.Errorf("%d arguments too many", len(args))
		}
		if o.Port == 0 {
			o.Port = portUsual
		}
		return func(e *service.Env) (service.Running, error) { return start(e, o.Port) }, nil
	},
}

type server struct {
	port     int
	log      io.Writer
	listener net.Listener
	packets  net.PacketConn
	running  sync.WaitGroup

	mu     sync.Mutex
	closed bool
	conns  map[net.Conn]bool
}

func start(e *service.Env, port int) (*server, error) {
	s := &server{port: port, log: e.Log, conns: map[net.Conn]bool{}}
	address := net.JoinHostPort("", strconv.Itoa(port))
	var err error
	if s.listener, err = e.Host.Listen("tcp", address); err != nil {
		return nil, err
	}
	if s.packets, err = e.Host.ListenPacket("udp", address); err != nil {
		return nil, errors.Join(err, s.listener.Close())
	}
	s.running.Go(s.accept)
	s.running.Go(s.answer)
	return s, nil
}

func (s *server) Addr() string { return fmt.Sprintf("tcp and udp port %d", s.port) }

func (s *server) Close() error {
	err := errors.Join(s.listener.Close(), s.packets.Close())
	s.mu.Lock()
	s.closed = true
	for c := range s.conns {
		c.Close()
	}
	s.mu.Unlock()
	s.running.Wait()
	return err
}

func (s *server) accept() {
	for {
		c, err := s.listener.Accept()
		if err != nil {
			return
		}
		if !s.add(c) {
			c.Close()
			continue
		}
		s.running.Go(func() {
			defer s.remove(c)
			n, _ := io.Copy(c, c)
			fmt.Fprintf(s.log, "echo: %v sent %d bytes\n", c.RemoteAddr(), n)
		})
	}
}

func (s *server) add(c net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(s.conns) >= connsMax {
		return false
	}
	s.conns[c] = true
	return true
}

func (s *server) remove(c net.Conn) {
	c.Close()
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
}

func (s *server) answer() {
	b := make([]byte, datagramMax)
	for {
		n, from, err := s.packets.ReadFrom(b)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // of an earlier answer: an ICMP error
		}
		s.packets.WriteTo(b[:n], from)
	}
}
