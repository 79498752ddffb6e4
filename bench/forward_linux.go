package bench

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/towpath/towpath/wire"
)

// forwardKernel has the kernel route from one veth pair to another. The router
// is in a namespace of its own; it believes the sink to have another station
// address, so that the sink drops at first sight. Rules are for nft(8).
var forwardKernel = func(r *Run, rules string) float64 {
	runtime.LockOSThread() // which is in the namespace that this process was started in
	here := unix.Gettid()
	var routerMAC wire.MAC
	ready, stop, stopped := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		elsewhere(func() {
			ip(fmt.Sprintf(`
				link set lo up
				link add v1 type veth peer name v0 netns %[1]d
				link add v2 type veth peer name v3 netns %[1]d
				addr add 10.1.0.1/24 dev v1
				addr add 10.2.0.1/24 dev v2
				link set v1 up
				link set v2 up
				neigh replace 10.2.0.2 lladdr 02:00:00:00:00:99 dev v2 nud permanent
			`, here))
			for _, part := range nftParts(rules) {
				nft := exec.Command("nft", "-f", "-")
				nft.Stdin = strings.NewReader(part)
				if out, err := nft.CombinedOutput(); err != nil {
					panic(fmt.Sprintf("nft: %v: %s", err, out))
				}
			}
			sysctl("net.ipv4.ip_forward", "1")
			sysctl("net.ipv4.conf.all.rp_filter", "0")
			v1, err := net.InterfaceByName("v1")
			check(err)
			routerMAC = wire.MAC(v1.HardwareAddr)
			close(ready)
			<-stop
		})
	}()
	<-ready
	ip(`
		link set v0 up
		link set v3 up
		link add d0 type veth peer name d1
		link set d0 up
		link set d1 up
	`)
	frames := floodFrames(routerMAC, wire.MAC{2, 0, 0, 0, 0, 8})

	sender := newBatchSender("d0", &frames)
	alone := nsPerOp(r, sender.send)
	sender.close()

	flood := newBatchSender("v0", &frames)
	sent, before := 0, received("v3")
	total := nsPerOp(r, func() int {
		n := flood.send()
		sent += n
		return n
	})
	flood.close()
	total *= float64(sent) / float64(max(received("v3")-before, 1)) // what was not forwarded does not count
	r.Note("sending alone", alone)
	close(stop)
	<-stopped
	return total - alone
}

// nftParts cuts a table into what one transaction of an ordinary user can hold.
func nftParts(rules string) (parts []string) {
	var b strings.Builder
	n := 0
	for line := range strings.Lines(rules) {
		if n++; n%200 == 0 {
			parts = append(parts, b.String()+" }\n}\n")
			b.Reset()
			b.WriteString("table ip t {\n chain f {\n")
		}
		b.WriteString(line)
	}
	if b.Len() > 0 {
		parts = append(parts, b.String())
	}
	return parts
}

// received is how many packets a device has received.
func received(dev string) int {
	b, err := os.ReadFile("/proc/thread-self/net/dev")
	check(err)
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), dev+":"); ok {
			var bytes, packets int
			_, err := fmt.Sscan(rest, &bytes, &packets)
			check(err)
			return packets
		}
	}
	panic("no device " + dev)
}

// batchSender sends the same frames again and again through a packet socket,
// all with one system call.
type batchSender struct {
	fd   int
	msgs [floodFlows]mmsghdr
	iovs [floodFlows]unix.Iovec
}

type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32
	_   [4]byte
}

func newBatchSender(dev string, frames *[floodFlows][]byte) *batchSender {
	nif, err := net.InterfaceByName(dev)
	check(err)
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	check(err)
	check(unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_QDISC_BYPASS, 1))
	check(unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: nif.Index}))
	s := &batchSender{fd: fd}
	for i, f := range frames {
		s.iovs[i].Base = &f[0]
		s.iovs[i].SetLen(len(f))
		s.msgs[i].hdr.Iov = &s.iovs[i]
		s.msgs[i].hdr.SetIovlen(1)
	}
	return s
}

// send returns how many frames the device has taken.
func (s *batchSender) send() int {
	n, _, _ := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(s.fd), uintptr(unsafe.Pointer(&s.msgs)), floodFlows, 0, 0, 0)
	return max(int(n), 0)
}

func (s *batchSender) close() { unix.Close(s.fd) }
