package live

import (
	"cmp"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
)

// A Device is what can be captured on.
type Device struct {
	Name, Description string
	Addresses         []netip.Prefix
	Up, Running       bool
	Loopback          bool
	Wireless          bool
	// Connected is meaningful if Known.
	Connected, Known bool
}

// Devices are the system's interfaces and Any, those that are most likely wanted
// first.
func Devices() ([]Device, error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	list := []Device{{Name: Any, Description: "Pseudo-device that captures on all interfaces", Up: true, Running: true}}
	for i := range all {
		list = append(list, device(&all[i]))
	}
	slices.SortStableFunc(list, func(a, b Device) int { return cmp.Compare(a.rank(), b.rank()) })
	return list, nil
}

// rank orders devices: those that carry packets, Any, the loopback, the rest.
func (d *Device) rank() int {
	switch {
	case d.Name == Any:
		return 1
	case !d.Up || !d.Running:
		return 3
	case d.Loopback:
		return 2
	}
	return 0
}

func device(i *net.Interface) Device {
	d := Device{
		Name: i.Name, Up: i.Flags&net.FlagUp != 0, Running: i.Flags&net.FlagRunning != 0, Loopback: i.Flags&net.FlagLoopback != 0,
	}
	dir := "/sys/class/net/" + i.Name
	if _, err := os.Stat(dir + "/wireless"); err == nil {
		d.Wireless = true
	}
	if b, err := os.ReadFile(dir + "/carrier"); err == nil && !d.Loopback {
		d.Connected, d.Known = strings.TrimSpace(string(b)) == "1", true
	}
	addrs, err := i.Addrs()
	if err != nil {
		return d
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok {
			if ip, ok := netip.AddrFromSlice(n.IP); ok {
				ones, _ := n.Mask.Size()
				d.Addresses = append(d.Addresses, netip.PrefixFrom(ip.Unmap(), ones))
			}
		}
	}
	return d
}
