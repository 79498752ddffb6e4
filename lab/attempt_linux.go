package lab

import (
	"context"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"github.com/towpath/towpath/wire"
)

// ping sends an echo request from one of the sockets that need no rights. The
// kernel chooses the identifier and gives us answers to it only.
func (kernelNet) ping(ctx context.Context, to netip.Addr, seq uint16) (time.Duration, error) {
	domain, proto, kind := syscall.AF_INET, syscall.IPPROTO_ICMP, uint8(wire.ICMPv4EchoRequest)
	var sa syscall.Sockaddr
	if to.Is6() {
		domain, proto, kind = syscall.AF_INET6, syscall.IPPROTO_ICMPV6, uint8(wire.ICMPv6EchoRequest)
		sa = &syscall.SockaddrInet6{Addr: to.As16()}
	} else {
		sa = &syscall.SockaddrInet4{Addr: to.As4()}
	}
	fd, err := syscall.Socket(domain, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, proto)
	if err != nil {
		return 0, os.NewSyscallError("socket", err)
	}
	if err := syscall.Connect(fd, sa); err != nil {
		syscall.Close(fd)
		return 0, os.NewSyscallError("connect", err)
	}
	f := os.NewFile(uintptr(fd), "ping")
	c, err := net.FileConn(f)
	f.Close()
	if err != nil {
		return 0, err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })()
	request := make([]byte, wire.ICMPLen+56)
	wire.PutICMP(request, kind, 0, 0, wire.ICMPEcho(0, seq))
	begin := time.Now()
	if _, err := c.Write(request); err != nil {
		return 0, err
	}
	_, err = c.Read(make([]byte, 2048))
	return time.Since(begin), err
}
