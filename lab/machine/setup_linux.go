package machine

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/towpath/towpath/internal/sys"
)

// carrierMax is how long a veth pair may take to pass packets.
const carrierMax = 5 * time.Second

// setUp makes the machine out of bare namespaces and returns the descriptors of
// its ports.
func setUp(c *Config) (ports []int, veth bool, err error) {
	if name := c.hostname(); name != "" {
		if err := unix.Sethostname([]byte(name)); err != nil {
			return nil, false, fmt.Errorf("host name %q: %w", name, err)
		}
	}
	if err := mountFiles(c); err != nil {
		return nil, false, err
	}
	if err := setSysctls(c); err != nil {
		return nil, false, err
	}
	if ports, veth, err = addDevices(c); err != nil {
		return nil, false, err
	}
	if err := configure(c); err != nil {
		closeAll(ports)
		return nil, false, err
	}
	return ports, veth, nil
}

// setSysctls sets what new interfaces inherit, before there are any.
func setSysctls(c *Config) error {
	list := [][2]string{
		// Nobody else can have our addresses: do not wait for an answer.
		{"ipv6/conf/all/accept_dad", "0"},
		{"ipv6/conf/default/accept_dad", "0"},
		{"ipv6/conf/default/dad_transmits", "0"},
		// The only group there is may ping.
		{"ipv4/ping_group_range", "0 0"},
	}
	if c.Forward {
		list = append(list, [][2]string{
			{"ipv4/ip_forward", "1"},
			{"ipv6/conf/all/forwarding", "1"},
			{"ipv6/conf/default/forwarding", "1"},
		}...)
	}
	for _, s := range list {
		if err := sysctl(s[0], s[1]); err != nil {
			return err
		}
	}
	return nil
}

// sysctl sets a value of the thread's network namespace. A kernel without the
// feature is fine.
func sysctl(name, value string) error {
	err := os.WriteFile("/proc/sys/net/"+name, []byte(value), 0)
	if err == nil || errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return fmt.Errorf("sysctl net/%s = %s: %w", name, value, errors.Unwrap(err))
}

// addDevices makes the interfaces, TAP devices if possible.
func addDevices(c *Config) (ports []int, veth bool, err error) {
	if len(c.Interfaces) == 0 {
		return nil, false, nil
	}
	var tapErr error
	if !c.Veth {
		if ports, tapErr = addTAPs(c.Interfaces); tapErr == nil {
			return ports, false, nil
		}
	}
	if ports, err = addVeths(c.Interfaces); err != nil {
		if tapErr != nil {
			err = fmt.Errorf("no TAP device (%w) and no veth pair (%w)", tapErr, err)
		}
		return nil, false, err
	}
	return ports, true, nil
}

func addTAPs(list []Interface) (ports []int, err error) {
	for _, ifc := range list {
		fd, _, err := sys.OpenTun(ifc.Name, unix.IFF_TAP|unix.IFF_NO_PI|unix.IFF_VNET_HDR)
		if err != nil {
			closeAll(ports)
			return nil, err
		}
		ports = append(ports, fd)
	}
	return ports, nil
}

// addVeths makes the interfaces veth pairs. Their far ends are in a network
// namespace of their own, where the machine's programs do not see them. It
// lives as long as the packet sockets in it.
func addVeths(list []Interface) (ports []int, err error) {
	here, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("open network namespace", err)
	}
	defer unix.Close(here)
	near, err := sys.OpenNetlink()
	if err != nil {
		return nil, err
	}
	defer near.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends, being spoiled
		ports, err = addPairs(list, near, here)
	}()
	<-done
	return ports, err
}

// addPairs makes the pairs, from a new network namespace for their far ends.
func addPairs(list []Interface, near *sys.Netlink, nearNS int) (ports []int, err error) {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return nil, os.NewSyscallError("unshare network", err)
	}
	// The far ends' kernel must keep silent.
	for _, which := range []string{"all", "default"} {
		if err := sysctl("ipv6/conf/"+which+"/disable_ipv6", "1"); err != nil {
			return nil, err
		}
	}
	far, err := sys.OpenNetlink()
	if err != nil {
		return nil, err
	}
	defer far.Close()
	for i := range list {
		fd, err := addPair(&list[i], "port"+strconv.Itoa(i), near, far, nearNS)
		if err != nil {
			closeAll(ports)
			return nil, err
		}
		ports = append(ports, fd)
	}
	return ports, nil
}

// addPair makes one pair, sets it up and opens a packet socket on its far end.
func addPair(ifc *Interface, farName string, near, far *sys.Netlink, nearNS int) (port int, err error) {
	l := sys.Link{Name: ifc.Name, MTU: ifc.MTU, MAC: ifc.mac()}
	if err := far.AddVeth(sys.Link{Name: farName, MTU: ifc.MTU}, l, nearNS); err != nil {
		return -1, err
	}
	index, err := far.Index(farName)
	if err != nil {
		return -1, err
	}
	if port, err = sys.OpenPacket(index); err != nil {
		return -1, err
	}
	if err = setLinkUp(far, farName); err == nil {
		err = setLinkUp(near, ifc.Name)
	}
	if err == nil {
		err = far.WaitRunning(farName, carrierMax)
	}
	if err == nil {
		err = near.WaitRunning(ifc.Name, carrierMax)
	}
	if err != nil {
		unix.Close(port)
		return -1, err
	}
	return port, nil
}

func setLinkUp(nl *sys.Netlink, name string) error {
	index, err := nl.Index(name)
	if err != nil {
		return err
	}
	return nl.SetLink(index, sys.Link{Up: true})
}

// configure gives the interfaces their addresses and routes.
func configure(c *Config) error {
	nl, err := sys.OpenNetlink()
	if err != nil {
		return err
	}
	defer nl.Close()
	index := map[string]int{}
	for _, ifc := range append([]Interface{{Name: "lo"}}, c.Interfaces...) {
		i, err := nl.Index(ifc.Name)
		if err != nil {
			return err
		}
		index[ifc.Name] = i
		if err := nl.SetLink(i, sys.Link{MTU: ifc.MTU, MAC: ifc.mac(), Up: true}); err != nil {
			return fmt.Errorf("interface %s: %w", ifc.Name, err)
		}
		for _, a := range ifc.Addresses {
			if err := nl.AddAddress(i, a); err != nil {
				return fmt.Errorf("interface %s: %w", ifc.Name, err)
			}
		}
	}
	for _, r := range c.Routes {
		if err := nl.AddRoute(r.To, r.Via, index[r.Interface]); err != nil {
			return err
		}
	}
	return nil
}

// mac is the interface's address as the kernel wants it, nil for any.
func (ifc *Interface) mac() []byte {
	if ifc.MAC.IsZero() {
		return nil
	}
	return ifc.MAC[:]
}
