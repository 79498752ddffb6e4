package bench

import (
	"net"
	"strconv"
)

const kernelTerms = "A stack in this process, and the kernel's sockets by Go's net, in a network namespace of its own; MTU 1500. " +
	"towpath-tap: a TAP device; towpath-veth: a veth pair and a packet socket; gvisor-tun: a TUN device, which gVisor reads and " +
	"writes packet by packet; gvisor-veth: the same veth pair and socket with 64 KiB segments, checksum offload and coalescing, " +
	"its fastest. The kernel uses cubic."

func init() {
	if kernelLinks == nil {
		return
	}
	aims := func(veth, tun float64) []Target {
		return []Target{
			{Ours: "towpath-tap", Peer: "gvisor-veth", Aim: veth},
			{Ours: "towpath-veth", Peer: "gvisor-veth", Aim: veth},
			{Ours: "towpath-tap", Peer: "gvisor-tun", Aim: tun},
		}
	}
	for _, l := range []Line{
		{
			Name: "kernel-out", Title: "TCP, one flow to the kernel", Unit: "MB/s",
			Terms: kernelTerms + " " + streamTerms, Load: streams(1), Value: megabytes, Targets: aims(1.2, 8),
		},
		{
			Name: "kernel-in", Title: "TCP, one flow from the kernel", Unit: "MB/s",
			Terms: kernelTerms + " " + streamTerms, Load: streams(1), Value: megabytes, Targets: aims(1.2, 8),
		},
		{
			Name: "kernel-roundtrip", Title: "TCP, 1 byte to the kernel and back", Unit: "round trips/s",
			Terms: kernelTerms, Load: roundTrips, Value: Window.Rate, Targets: aims(1.5, 1.5),
		},
		{
			Name: "kernel-connect", Title: "TCP, connect to the kernel and close", Unit: "connections/s",
			Terms: kernelTerms, Load: connects, Value: Window.Rate, Targets: aims(0, 0),
		},
	} {
		l.Namespace = true
		l.Contenders = make(map[string]func(*Run) float64)
		for name, open := range kernelLinks {
			l.Contenders[name] = func(r *Run) float64 { return l.do(newKernelWorld(open, l.Name == "kernel-in"), r) }
		}
		register(l)
	}
}

// kernelWorld is a stack in this process and the kernel. The kernel is b; or,
// if in is set, a.
type kernelWorld struct {
	World  // the stack's calls
	down   func()
	kernel string
	in     bool
}

func newKernelWorld(open func(local, kernel string) (World, func()), in bool) World {
	w := &kernelWorld{in: in, kernel: addressOfB(0).String()}
	local := "10.0.0.1"
	if in {
		local, w.kernel = w.kernel, local
	}
	w.World, w.down = open(local, w.kernel)
	return w
}

func (w *kernelWorld) Listen(port uint16) Listener {
	if w.in {
		return w.World.Listen(port)
	}
	l, err := net.Listen("tcp4", net.JoinHostPort(w.kernel, strconv.Itoa(int(port))))
	check(err)
	return netListener{l}
}

func (w *kernelWorld) Dial(port uint16, i int) Conn {
	if !w.in {
		return w.World.Dial(port, 0)
	}
	c, err := net.Dial("tcp4", net.JoinHostPort(addressOfB(0).String(), strconv.Itoa(int(port))))
	check(err)
	return c
}

func (*kernelWorld) MoreAddresses(int) {}
func (w *kernelWorld) Close()          { w.down() }
