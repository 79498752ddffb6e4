package bench

import (
	"context"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/link/fdbased"

	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/link"
	"github.com/towpath/towpath/link/afpacket"
	"github.com/towpath/towpath/link/tun"
)

// kernelLinks are the ways between a stack in this process and the kernel, by
// contender: each makes the stack, which has the address local, and gives the
// kernel's end the address kernel.
var kernelLinks = map[string]func(local, kernel string) (World, func()){
	"towpath-tap": func(local, kernel string) (World, func()) {
		dev, err := tun.Open(tun.Config{Name: "tap0", Mode: tun.TAP, MTU: 1500})
		check(err)
		deviceUp("tap0", kernel)
		return towpathAt(dev, local)
	},
	"towpath-veth": func(local, kernel string) (World, func()) {
		vethUp(kernel)
		port, err := afpacket.Open("v1", afpacket.Config{})
		check(err)
		return towpathAt(port, local)
	},
	"gvisor-tun": func(local, kernel string) (World, func()) {
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		check(err)
		ifr, err := unix.NewIfreq("tun0")
		check(err)
		ifr.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		check(unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr))
		deviceUp("tun0", kernel)
		return gvisorAt(fd, &fdbased.Options{}, local)
	},
	"gvisor-veth": func(local, kernel string) (World, func()) {
		vethUp(kernel)
		nif, err := net.InterfaceByName("v1")
		check(err)
		const all = unix.ETH_P_ALL<<8&0xff00 | unix.ETH_P_ALL>>8
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, all)
		check(err)
		check(unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1))
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, udpBuffer) // an ordinary user may not
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, udpBuffer)
		check(unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: nif.Index}))
		return gvisorAt(fd, &fdbased.Options{
			EthernetHeader: true, Address: tcpip.LinkAddress(nif.HardwareAddr),
			PacketDispatchMode: fdbased.RecvMMsg, GSOMaxSize: 65535, RXChecksumOffload: true, GRO: true,
		}, local)
	},
}

// deviceUp gives the kernel's interface its address.
func deviceUp(name, address string) {
	ip("addr add " + address + "/24 dev " + name + "\nlink set " + name + " mtu 1500 txqueuelen 4000 up")
}

// vethUp makes a veth pair: v0 is the kernel's, v1 is for a packet socket.
func vethUp(address string) {
	ip("link add v0 type veth peer name v1")
	sysctl("net.ipv6.conf.v1.disable_ipv6", "1")
	deviceUp("v0", address)
	ip("link set v1 up")
}

func towpathAt(m link.Miniport, local string) (World, func()) {
	h := host.New(host.Config{Name: "host"})
	_, err := h.AddAdapter("eth0", m)
	check(err)
	check(h.AddAddress("eth0", netip.PrefixFrom(netip.MustParseAddr(local), 24)))
	return &towpathWorld{a: h, b: h, addresses: 1}, func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		check(h.Close(ctx))
	}
}

func gvisorAt(fd int, o *fdbased.Options, local string) (World, func()) {
	o.FDs, o.MTU, o.ProcessorsPerChannel = []int{fd}, 1500, 1
	ep, err := fdbased.New(o)
	check(err)
	s := newGvisorStack(ep)
	addGvisorAddress(s, netip.MustParseAddr(local))
	return &gvisorWorld{a: s, b: s, addresses: 1}, func() {
		s.Destroy()
		ep.Attach(nil)
		unix.Close(fd)
	}
}
