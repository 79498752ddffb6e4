package bench

import (
	"net/netip"
	"sync/atomic"

	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/link"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/channel"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

const (
	floodFlows = 64 // flows, and frames a batch
	floodFrame = 60 // bytes: 64 on a wire, with its check sequence
)

func init() {
	l := Line{
		Name: "forward-64", Title: "Forwarding, frames of 64 bytes, no rules", Unit: "ns per packet",
		Terms: "UDP of 64 flows in turn, from one interface to another, on one goroutine. towpath gets Ethernet frames " +
			"by 64 and finds the neighbour; gVisor gets IP packets one by one, as its interfaces take them, and " +
			"needs no neighbour. The kernel routes between veth pairs what a packet socket sends 64 a call; sending " +
			"alone, to a veth pair whose other end drops at first sight, is measured in the same process and subtracted.",
		LowerIsBetter: true,
		Contenders: map[string]func(*Run) float64{
			"towpath": func(r *Run) float64 { return forwardTowpath(r, "") },
			"gvisor":  forwardGvisor,
		},
		Targets: []Target{{Ours: "towpath", Peer: "gvisor", Aim: 0.12}},
	}
	if forwardKernel != nil {
		l.Namespace = true
		l.Contenders["kernel"] = func(r *Run) float64 { return forwardKernel(r, "") }
		l.Targets = append(l.Targets, Target{Ours: "towpath", Peer: "kernel", Aim: 0.7})
	}
	register(l)
}

// floodFrames are Ethernet frames of floodFrame bytes, one of each flow.
func floodFrames(dst, src wire.MAC) (frames [floodFlows][]byte) {
	from, to := netip.AddrFrom4([4]byte{10, 1, 0, 2}), netip.AddrFrom4([4]byte{10, 2, 0, 2})
	for i := range frames {
		b := make([]byte, floodFrame)
		wire.PutEthernet(b, dst, src, wire.EtherTypeIPv4)
		ip := b[wire.EthernetLen:]
		wire.PutIPv4(ip, &wire.IPv4Fields{TotalLen: len(ip), TTL: 64, Proto: wire.ProtoUDP, Src: from, Dst: to})
		udp := ip[wire.IPv4Len:]
		wire.PutUDP(udp, uint16(5000+i), 7777, len(udp), 0)
		wire.UDP(udp).SetChecksum(^wire.Fold(wire.Sum(udp, wire.PseudoSum(from, to, wire.ProtoUDP, len(udp)))))
		frames[i] = b
	}
	return frames
}

// floodPort is a driver that counts and frees what it is given to send, and
// indicates frames when told to.
type floodPort struct {
	mac     wire.MAC
	adapter *link.Adapter
	pool    *packet.Pool
	batch   packet.List
	sent    int
}

func (p *floodPort) Capabilities() link.Capabilities {
	return link.Capabilities{Medium: link.MediumEthernet, MTU: 1500, MAC: p.mac}
}

func (p *floodPort) Start(a *link.Adapter) error { p.adapter = a; return nil }
func (p *floodPort) Close() error                { return nil }

func (p *floodPort) Send(l *packet.List, w *link.Work) {
	p.sent += l.Len()
	p.pool.FreeList(l)
}

// flood indicates each frame once.
func (p *floodPort) flood(frames *[floodFlows][]byte) {
	for _, f := range frames {
		q := p.pool.Get()
		copy(q.Append(len(f)), f)
		p.batch.Push(q)
	}
	w := link.NewWork(nil)
	p.adapter.Indicate(&p.batch, w)
	w.Run()
}

// forwardTowpath forwards through a host with rules in nftables' language; none
// if they are empty.
func forwardTowpath(r *Run, rules string) float64 {
	h := host.New(host.Config{Name: "router", Settings: host.Settings{Forward: true}})
	if rules != "" {
		loadRules(h, rules)
	}
	pool := new(packet.Pool)
	in := &floodPort{mac: wire.MAC{2, 0, 0, 0, 0, 1}, pool: pool}
	out := &floodPort{mac: wire.MAC{2, 0, 0, 0, 0, 2}, pool: pool}
	for i, p := range []*floodPort{in, out} {
		name := []string{"eth0", "eth1"}[i]
		_, err := h.AddAdapter(name, p)
		check(err)
		check(h.AddAddress(name, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(1 + i), 0, 1}), 24)))
	}
	// The neighbour makes itself known with a request.
	arp := make([]byte, wire.EthernetLen+wire.ARPLen)
	neighbour := wire.MAC{2, 0, 0, 0, 0, 9}
	wire.PutEthernet(arp, out.mac, neighbour, wire.EtherTypeARP)
	wire.PutARP(arp[wire.EthernetLen:], wire.ARPRequest, neighbour, netip.AddrFrom4([4]byte{10, 2, 0, 2}),
		wire.MAC{}, netip.AddrFrom4([4]byte{10, 2, 0, 1}))
	q := packet.Get()
	q.AppendBytes(arp)
	var l packet.List
	l.Push(q)
	w := link.NewWork(nil)
	out.adapter.Indicate(&l, w)
	w.Run()

	frames := floodFrames(in.mac, wire.MAC{2, 0, 0, 0, 0, 8})
	return nsPerOp(r, func() int {
		before := out.sent
		in.flood(&frames)
		return out.sent - before
	})
}

func forwardGvisor(r *Run) float64 {
	in := channel.New(512, 1500, "\x02\x00\x00\x00\x00\x01")
	out := channel.New(512, 1500, "\x02\x00\x00\x00\x00\x02")
	s := newGvisorStack(in)
	checkGvisor(s.CreateNICWithOptions(2, out, stack.NICOptions{Name: "eth1"}))
	addGvisorAddress(s, netip.AddrFrom4([4]byte{10, 1, 0, 1}))
	checkGvisor(s.AddProtocolAddress(2, tcpip.ProtocolAddress{
		Protocol:          ipv4.ProtocolNumber,
		AddressWithPrefix: tcpip.AddrFrom4([4]byte{10, 2, 0, 1}).WithPrefix(),
	}, stack.AddressProperties{}))
	checkGvisor(s.SetForwardingDefaultAndAllNICs(ipv4.ProtocolNumber, true))
	to := tcpip.AddressWithPrefix{Address: tcpip.AddrFrom4([4]byte{10, 2, 0, 0}), PrefixLen: 24}.Subnet()
	s.SetRouteTable([]tcpip.Route{{Destination: to, NIC: 2}, {Destination: header.IPv4EmptySubnet, NIC: 1}})
	defer s.Destroy()
	frames := floodFrames(wire.MAC{}, wire.MAC{})
	return nsPerOp(r, func() (forwarded int) {
		for _, f := range frames {
			p := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(f[wire.EthernetLen:])})
			in.InjectInbound(ipv4.ProtocolNumber, p)
			p.DecRef()
			if q := out.Read(); q != nil {
				forwarded++
				q.DecRef()
			}
		}
		return forwarded
	})
}

// nsPerOp runs work over and over on a goroutine and returns how long one of
// the operations took that it says it has done.
func nsPerOp(r *Run, work func() int) float64 {
	l := new(Load)
	var stop atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		for !stop.Load() {
			l.Ops.Add(work())
		}
	}()
	win := r.Observe(l)
	stop.Store(true)
	<-done
	if win.Ops == 0 {
		panic("nothing was forwarded")
	}
	r.Note("allocs/op", win.AllocsPerOp())
	return float64(win.Time.Nanoseconds()) / win.Ops
}
