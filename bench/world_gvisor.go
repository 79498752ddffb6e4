package bench

import (
	"bytes"
	"fmt"
	"net/netip"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/pipe"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// gvisorWorld is two gVisor stacks joined by a pipe. Its sockets are raw
// endpoints with the least that is needed to block on them; gonetWorld shows
// what gVisor's own net.Conn adapter adds.
type gvisorWorld struct {
	a, b      *stack.Stack
	addresses int // of b
}

// gsoPipe is gVisor's pipe with the two things it lacks as shipped: it claims
// checksum offload and takes whole 64 KiB segments.
type gsoPipe struct{ *pipe.Endpoint }

func (gsoPipe) Capabilities() stack.LinkEndpointCapabilities {
	return stack.CapabilityRXChecksumOffload | stack.CapabilityTXChecksumOffload
}
func (gsoPipe) GSOMaxSize() uint32               { return 65535 }
func (gsoPipe) SupportedGSO() stack.SupportedGSO { return stack.HostGSOSupported }

func newPipeEndpoints() (a, b *pipe.Endpoint) {
	return pipe.New("\x02\x00\x00\x00\x00\x01", "\x02\x00\x00\x00\x00\x02", 1500)
}

func newGvisorPipe() World {
	a, b := newPipeEndpoints()
	return newGvisorWorld(a, b)
}

func newGvisorGSO() World {
	a, b := newPipeEndpoints()
	return newGvisorWorld(gsoPipe{a}, gsoPipe{b})
}

const gvisorNIC = tcpip.NICID(1)

func newGvisorWorld(a, b stack.LinkEndpoint) *gvisorWorld {
	w := &gvisorWorld{a: newGvisorStack(a), b: newGvisorStack(b)}
	addGvisorAddress(w.a, netip.AddrFrom4([4]byte{10, 0, 0, 1}))
	w.MoreAddresses(1)
	return w
}

func (w *gvisorWorld) MoreAddresses(n int) {
	for ; w.addresses < n; w.addresses++ {
		addGvisorAddress(w.b, addressOfB(w.addresses))
	}
}

func newGvisorStack(ep stack.LinkEndpoint) *stack.Stack {
	s := stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, arp.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol},
	})
	set := func(o tcpip.SettableTransportProtocolOption) {
		checkGvisor(s.SetTransportProtocolOption(tcp.ProtocolNumber, o))
	}
	sack := tcpip.TCPSACKEnabled(true)
	set(&sack)
	moderate := tcpip.TCPModerateReceiveBufferOption(true)
	set(&moderate)
	set(&tcpip.TCPReceiveBufferSizeRangeOption{Min: 4 << 10, Default: 256 << 10, Max: 8 << 20})
	set(&tcpip.TCPSendBufferSizeRangeOption{Min: 4 << 10, Default: 256 << 10, Max: 8 << 20})
	checkGvisor(s.CreateNICWithOptions(gvisorNIC, ep, stack.NICOptions{Name: "eth0"}))
	s.SetRouteTable([]tcpip.Route{{Destination: header.IPv4EmptySubnet, NIC: gvisorNIC}})
	return s
}

func addGvisorAddress(s *stack.Stack, addr netip.Addr) {
	checkGvisor(s.AddProtocolAddress(gvisorNIC, tcpip.ProtocolAddress{
		Protocol:          ipv4.ProtocolNumber,
		AddressWithPrefix: tcpip.AddrFrom4(addr.As4()).WithPrefix(),
	}, stack.AddressProperties{}))
}

func checkGvisor(err tcpip.Error) {
	if err != nil {
		panic(err.String())
	}
}

func (w *gvisorWorld) Listen(port uint16) Listener {
	s := newGvisorSocket(w.b, tcp.ProtocolNumber)
	checkGvisor(s.ep.Bind(tcpip.FullAddress{Port: port}))
	checkGvisor(s.ep.Listen(4096))
	return gvisorListener{s}
}

func (w *gvisorWorld) Dial(port uint16, i int) Conn {
	s := newGvisorSocket(w.a, tcp.ProtocolNumber)
	err := s.ep.Connect(tcpip.FullAddress{Addr: tcpip.AddrFrom4(addressOfB(i % w.addresses).As4()), Port: port})
	if _, ok := err.(*tcpip.ErrConnectStarted); !ok {
		checkGvisor(err)
		return s
	}
	<-s.out
	checkGvisor(s.ep.LastError())
	return s
}

func (w *gvisorWorld) UDP() (tx, rx PacketConn, to netip.AddrPort) {
	a, b := newGvisorSocket(w.a, udp.ProtocolNumber), newGvisorSocket(w.b, udp.ProtocolNumber)
	b.ep.SocketOptions().SetReceiveBufferSize(udpBuffer, false)
	checkGvisor(a.ep.Bind(tcpip.FullAddress{Port: 1000}))
	checkGvisor(b.ep.Bind(tcpip.FullAddress{Port: 2000}))
	return a, b, netip.AddrPortFrom(addressOfB(0), 2000)
}

func (w *gvisorWorld) Close() {
	w.a.Destroy()
	w.b.Destroy()
}

// shortTimeWait makes gVisor keep closed connections for a millisecond only.
func (w *gvisorWorld) shortTimeWait() {
	for _, s := range []*stack.Stack{w.a, w.b} {
		tw := tcpip.TCPTimeWaitTimeoutOption(time.Millisecond)
		checkGvisor(s.SetTransportProtocolOption(tcp.ProtocolNumber, &tw))
	}
}

// gvisorSocket blocks on a raw endpoint: one waiter entry each way for the life
// of the socket, which is less work than gonet does.
type gvisorSocket struct {
	ep      tcpip.Endpoint
	wq      *waiter.Queue
	in, out chan struct{}
	ie, oe  waiter.Entry
	payload bytes.Reader
}

func newGvisorSocket(s *stack.Stack, p tcpip.TransportProtocolNumber) *gvisorSocket {
	var wq waiter.Queue
	ep, err := s.NewEndpoint(p, ipv4.ProtocolNumber, &wq)
	checkGvisor(err)
	return wrapGvisor(ep, &wq)
}

func wrapGvisor(ep tcpip.Endpoint, wq *waiter.Queue) *gvisorSocket {
	s := &gvisorSocket{ep: ep, wq: wq}
	s.ie, s.in = waiter.NewChannelEntry(waiter.ReadableEvents | waiter.EventHUp | waiter.EventErr)
	s.oe, s.out = waiter.NewChannelEntry(waiter.WritableEvents | waiter.EventHUp | waiter.EventErr)
	wq.EventRegister(&s.ie)
	wq.EventRegister(&s.oe)
	return s
}

func wouldBlock(err tcpip.Error) bool {
	_, ok := err.(*tcpip.ErrWouldBlock)
	return ok
}

// Read reads at least one byte.
func (s *gvisorSocket) Read(b []byte) (int, error) {
	for {
		w := tcpip.SliceWriter(b)
		r, err := s.ep.Read(&w, tcpip.ReadOptions{})
		if err == nil {
			s.ep.ModerateRecvBuf(r.Count)
			return r.Count, nil
		}
		if !wouldBlock(err) {
			return 0, fmt.Errorf("read: %v", err)
		}
		<-s.in
	}
}

// Write writes all of b.
func (s *gvisorSocket) Write(b []byte) (int, error) {
	n := 0
	for n < len(b) {
		s.payload.Reset(b[n:])
		k, err := s.ep.Write(&s.payload, tcpip.WriteOptions{})
		n += int(k)
		if err == nil {
			continue
		}
		if !wouldBlock(err) {
			return n, fmt.Errorf("write: %v", err)
		}
		<-s.out
	}
	return n, nil
}

func (s *gvisorSocket) Close() error {
	s.ep.Close()
	s.wq.EventUnregister(&s.ie)
	s.wq.EventUnregister(&s.oe)
	return nil
}

func (s *gvisorSocket) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	for {
		w := tcpip.SliceWriter(b)
		r, err := s.ep.Read(&w, tcpip.ReadOptions{NeedRemoteAddr: true})
		if err == nil {
			from := r.RemoteAddr
			return r.Count, netip.AddrPortFrom(netip.AddrFrom4(from.Addr.As4()), from.Port), nil
		}
		if !wouldBlock(err) {
			return 0, netip.AddrPort{}, fmt.Errorf("read: %v", err)
		}
		<-s.in
	}
}

func (s *gvisorSocket) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error) {
	s.payload.Reset(b)
	addr := tcpip.FullAddress{Addr: tcpip.AddrFrom4(to.Addr().As4()), Port: to.Port()}
	for {
		n, err := s.ep.Write(&s.payload, tcpip.WriteOptions{To: &addr})
		if err == nil {
			return int(n), nil
		}
		if !wouldBlock(err) {
			return 0, fmt.Errorf("write: %v", err)
		}
		<-s.out
	}
}

type gvisorListener struct{ *gvisorSocket }

func (l gvisorListener) Accept() (Conn, error) {
	for {
		ep, wq, err := l.ep.Accept(nil)
		if err == nil {
			return wrapGvisor(ep, wq), nil
		}
		if !wouldBlock(err) {
			return nil, fmt.Errorf("accept: %v", err)
		}
		<-l.in
	}
}
