package linktest

import (
	"bytes"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/towpath/towpath/internal/sys"
	"github.com/towpath/towpath/link"
	"github.com/towpath/towpath/link/afpacket"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// Device opens a driver's only end and returns it with the name of the kernel's
// network interface that is its other end, up and without addresses.
type Device func(t *testing.T) (port link.Miniport, kernel string)

// RunDevice tests a driver against the kernel. It needs the rights to open
// packet sockets and to give addresses.
func RunDevice(t *testing.T, open Device) {
	Run(t, func(t *testing.T) (a, b link.Miniport) {
		a, name := open(t)
		b, err := afpacket.Open(name, afpacket.Config{})
		if err != nil {
			a.Close()
			t.Fatal(err)
		}
		return a, b
	})
	t.Run("Kernel", func(t *testing.T) { testKernel(t, open) })
}

// testKernel exchanges datagrams with a socket of the kernel.
func testKernel(t *testing.T, open Device) {
	balanced(t)
	port, name := open(t)
	e := newEnd("a", 1, port)
	t.Cleanup(func() { e.adapter.Close() })
	if err := e.adapter.Open(); err != nil {
		t.Fatal(err)
	}
	nl, err := sys.OpenNetlink()
	if err != nil {
		t.Fatal(err)
	}
	defer nl.Close()
	index, err := nl.Index(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := nl.AddAddress(index, netip.PrefixFrom(dst4, 24)); err != nil {
		t.Fatal(err)
	}
	mac := wire.MAC{}
	if e.caps().Medium == link.MediumEthernet {
		own := e.caps().MAC
		if err := nl.AddNeighbor(index, src4, own[:]); err != nil {
			t.Fatal(err)
		}
		ifi, err := net.InterfaceByName(name)
		if err != nil {
			t.Fatal(err)
		}
		mac = wire.MAC(ifi.HardwareAddr)
	}
	sock, err := net.ListenUDP("udp4", &net.UDPAddr{IP: dst4.AsSlice(), Port: 9})
	if err != nil {
		t.Fatal(err)
	}
	defer sock.Close()
	sock.SetDeadline(time.Now().Add(waitMax))
	replies := make(chan []byte, 10)
	e.adapter.Bind(kernelReplies{e, replies})
	e.adapter.Unbind(e)
	for _, partial := range []bool{true, false} {
		for _, size := range []int{1, 2, 333, e.mtu() - 28} {
			p := e.build(segment{size: size + 28, partial: partial})
			if e.linkLen() > 0 {
				wire.Ethernet(p.Head()).SetDst(mac)
			}
			want := []byte(payloadOf(p.Bytes(), e.linkLen(), false, false))
			e.sendOne(p)
			b := make([]byte, 64<<10)
			n, from, err := sock.ReadFromUDPAddrPort(b)
			if err != nil {
				t.Fatalf("%d bytes, partial %v: %v; dropped: %s", size, partial, err, e.drops())
			}
			if !bytes.Equal(b[:n], want) || from.Addr() != src4 {
				t.Fatalf("the kernel got %d bytes from %v, or they changed", n, from)
			}
			if _, err := sock.WriteToUDPAddrPort(want, from); err != nil {
				t.Fatal(err)
			}
			select {
			case got := <-replies:
				if !bytes.Equal(got, want) {
					t.Errorf("the kernel's %d bytes came as %d, or changed", len(want), len(got))
				}
			case <-time.After(waitMax):
				t.Fatalf("no answer; dropped: %s", e.drops())
			}
		}
	}
}

// kernelReplies takes the payload of the kernel's datagrams whose checksum is
// right.
type kernelReplies struct {
	e  *end
	to chan []byte
}

func (k kernelReplies) Receive(_ *link.Adapter, l *packet.List, _ *link.Work) {
	for p := l.Pop(); p != nil; p = l.Pop() {
		packet.Complete(p)
		ip := p.Bytes()[k.e.linkLen():]
		packet.Free(p)
		h := wire.IPv4(ip)
		if ip[0]>>4 != 4 || !h.Valid(len(ip)) || h.Src() != dst4 || h.Proto() != wire.ProtoUDP {
			continue
		}
		if wire.Fold(wire.Sum(h.Payload(), wire.PseudoSum(h.Src(), h.Dst(), h.Proto(), h.PayloadLen()))) == 0xffff {
			k.to <- bytes.Clone(wire.UDP(h.Payload()).Payload())
		}
	}
}
