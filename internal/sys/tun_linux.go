package sys

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// TunPath is the device that TUN and TAP interfaces are made with.
const TunPath = "/dev/net/tun"

// TunOffload is what a TUN or TAP device with a vnet header may leave undone:
// checksums and TCP segmentation.
const TunOffload = unix.TUN_F_CSUM | unix.TUN_F_TSO4 | unix.TUN_F_TSO6 | unix.TUN_F_TSO_ECN

// OpenTun opens a TUN or TAP interface, making it if there is none of that
// name; an empty name lets the kernel choose. flags are IFF_TUN or IFF_TAP and
// others of linux/if_tun.h. The descriptor does not block and is closed on
// exec. It returns the name the interface got.
func OpenTun(name string, flags uint16) (fd int, got string, err error) {
	ifr, err := unix.NewIfreq(name)
	if err != nil {
		return -1, "", fmt.Errorf("interface name %q: %w", name, err)
	}
	fd, err = unix.Open(TunPath, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, "", &os.PathError{Op: "open", Path: TunPath, Err: err}
	}
	ifr.SetUint16(flags)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr); err != nil {
		unix.Close(fd)
		return -1, "", fmt.Errorf("create interface %q: %w", name, err)
	}
	return fd, ifr.Name(), nil
}

// TunInfo returns the name and flags of the interface behind a descriptor.
func TunInfo(fd int) (name string, flags uint16, err error) {
	ifr, err := unix.NewIfreq("")
	if err != nil {
		return "", 0, err
	}
	if err := unix.IoctlIfreq(fd, unix.TUNGETIFF, ifr); err != nil {
		return "", 0, os.NewSyscallError("ioctl TUNGETIFF", err)
	}
	return ifr.Name(), ifr.Uint16(), nil
}

// SetTunVNet sets the length of the vnet header and the offloads of an
// interface made with IFF_VNET_HDR.
func SetTunVNet(fd, hdrLen int, offload uint) error {
	if err := unix.IoctlSetPointerInt(fd, unix.TUNSETVNETHDRSZ, hdrLen); err != nil {
		return os.NewSyscallError("ioctl TUNSETVNETHDRSZ", err)
	}
	if err := unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, int(offload)); err != nil {
		return os.NewSyscallError("ioctl TUNSETOFFLOAD", err)
	}
	return nil
}
