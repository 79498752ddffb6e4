package bridge_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/towpath/towpath/internal/testenv"
	"github.com/towpath/towpath/link/bridge"
	"github.com/towpath/towpath/wire"
)

// kernelFrames is how many frames both bridges get.
const kernelFrames = 400

// TestKernel gives the same frames to this machine's bridge and to one of ours,
// and compares by which ports they leave, and how they look.
func TestKernel(t *testing.T) {
	testenv.InNamespace(t, func(t *testing.T) {
		testenv.NeedsTool(t, "ip", "bridge")
		for name, filtering := range map[string]bool{"plain": false, "filtering": true} {
			t.Run(name, func(t *testing.T) { compare(t, filtering) })
		}
	})
}

var kernelPorts = []bridge.PortConfig{
	{PVID: 10}, {PVID: 10}, {PVID: 20}, {Tagged: []uint16{10, 20}}, {PVID: 1, Tagged: []uint16{10}},
}

func compare(t *testing.T, filtering bool) {
	for _, which := range []string{"all", "default"} {
		os.WriteFile("/proc/sys/net/ipv6/conf/"+which+"/disable_ipv6", []byte("1"), 0)
	}
	do := func(format string, args ...any) {
		t.Helper()
		f := strings.Fields(fmt.Sprintf(format, args...))
		if out, err := exec.Command(f[0], f[1:]...).CombinedOutput(); err != nil {
			t.Skipf("this kernel has no such bridge: %q: %s", f, out)
		}
	}
	do("ip link add br0 type bridge mcast_snooping 0")
	defer do("ip link del br0")
	if filtering {
		do("ip link set br0 type bridge vlan_filtering 1")
	}
	do("ip link set br0 up")
	var fds []int
	for i, c := range kernelPorts {
		do("ip link add p%d type veth peer name s%d", i, i)
		defer do("ip link del p%d", i)
		do("ip link set p%d master br0 up", i)
		do("ip link set s%d promisc on up", i)
		if filtering {
			do("bridge vlan del vid 1 dev p%d", i)
			if c.PVID != 0 {
				do("bridge vlan add vid %d pvid untagged dev p%d", c.PVID, i)
			}
			for _, vid := range c.Tagged {
				do("bridge vlan add vid %d dev p%d", vid, i)
			}
		}
		fds = append(fds, openSocket(t, fmt.Sprint("s", i)))
	}
	_, plugs := newBridge(t, bridge.Config{Filtering: filtering}, kernelPorts...)
	waitForwarding(t, fds)
	rng := rand.New(rand.NewPCG(1, 2))
	for n := range kernelFrames {
		f, in := draw(rng, n)
		for _, p := range plugs {
			p.got = nil
		}
		plugs[in].indicate(f)
		if _, err := unix.Write(fds[in], f); err != nil {
			t.Fatal(err)
		}
		for i, p := range plugs {
			for _, w := range p.got {
				if g := receive(fds[i], 2000); !bytes.Equal(g, w) {
					t.Fatalf("frame %d, % x, into port %d: by port %d the kernel sends\n% x\nand we\n% x", n, f[:24], in, i, g, w)
				}
			}
		}
	}
	for i, fd := range fds {
		if g := receive(fd, 20); g != nil {
			t.Errorf("by port %d the kernel sends % x besides", i, g)
		}
	}
}

// draw makes a frame and says where it comes in.
func draw(rng *rand.Rand, n int) (f []byte, in int) {
	src, dst := station(byte(1+rng.IntN(6))), station(byte(1+rng.IntN(6)))
	switch rng.IntN(8) {
	case 0:
		dst = wire.Broadcast
	case 1:
		dst = group
	case 2:
		dst = wire.MAC{0x01, 0x80, 0xc2, 0, 0, byte(3 + rng.IntN(15))}
	case 3:
		src = group
	}
	var tags []uint16
	switch rng.IntN(3) {
	case 0:
		tags = []uint16{[]uint16{0, 1, 10, 20, 30, 3<<13 | 10, 5 << 13}[rng.IntN(7)]}
	case 1:
		tags = []uint16{10, uint16(rng.IntN(100))}
	}
	f = frame(dst, src, tags...)
	copy(f[len(f)-4:], fmt.Sprintf("%04d", n))
	return f, rng.IntN(len(kernelPorts))
}

// waitForwarding sends frames to a group by the first port until the second
// gets one: links take a moment to be up. Then it reads what has come.
func waitForwarding(t *testing.T, fds []int) {
	for n := 0; ; n++ {
		unix.Write(fds[0], frame(group, station(100)))
		if receive(fds[1], 50) != nil {
			break
		}
		if n == 200 {
			t.Fatal("the kernel's bridge passes nothing")
		}
	}
	for _, fd := range fds {
		for receive(fd, 50) != nil {
		}
	}
}

// openSocket opens a packet socket that sees what arrives at an interface.
func openSocket(t *testing.T, name string) int {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	req, err := unix.NewIfreq(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, req); err != nil {
		t.Fatal(err)
	}
	for _, opt := range []int{unix.PACKET_AUXDATA, unix.PACKET_IGNORE_OUTGOING} {
		if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, opt, 1); err != nil {
			t.Fatal(err)
		}
	}
	const all = unix.ETH_P_ALL>>8 | unix.ETH_P_ALL&0xff<<8 // network byte order
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: int(req.Uint32())}); err != nil {
		t.Fatal(err)
	}
	return fd
}

// receive reads a frame and puts the tag back that the kernel keeps apart; nil
// if none comes in time.
func receive(fd int, ms int) []byte {
	if n, _ := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, ms); n <= 0 {
		return nil
	}
	b, oob := make([]byte, 2000), make([]byte, 200)
	n, m, _, _, err := unix.Recvmsg(fd, b, oob, 0)
	if err != nil {
		return nil
	}
	b = b[:n]
	messages, _ := unix.ParseSocketControlMessage(oob[:m])
	for _, c := range messages {
		// struct tpacket_auxdata: status at 0, the tag at 16, its protocol at 18.
		if c.Header.Type != unix.PACKET_AUXDATA || len(c.Data) < 20 || c.Data[0]&unix.TP_STATUS_VLAN_VALID == 0 {
			continue
		}
		tag := []byte{c.Data[19], c.Data[18], c.Data[17], c.Data[16]}
		b = bytes.Join([][]byte{b[:12], tag, b[12:]}, nil)
	}
	return b
}
