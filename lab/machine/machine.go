// Package machine joins a real kernel's network to the lab: a Linux user,
// network, mount, PID and host name namespace whose interfaces are ports of
// this process. No privileges are needed.
//
//	func main() {
//		machine.Init() // does not return in a machine's first process
//		m, err := machine.Start(ctx, machine.Config{
//			Hostname:   "web",
//			Interfaces: []machine.Interface{{Name: "eth0", Addresses: []netip.Prefix{addr}}},
//		})
//		adapter := link.NewAdapter("eth0", 1, m.Ports()[0])
//		p, err := m.Exec(ctx, machine.Cmd{Args: []string{"ping", "-c1", "10.1.0.1"}, Stdout: os.Stdout})
//		err = p.Wait()
//		m.Close(ctx)
//	}
//
// # Theory of operation
//
// Start runs this program again, in new namespaces, where [Init] takes over as
// process 1. It sets the machine up, sends the descriptors of its devices to
// the parent, and stays to start programs and to reap them:
//
//	  this process                          the machine
//	+--------------+  control socket   +----------------------+
//	| Machine      |<----------------->| Init, PID 1          |
//	|  Exec        |  one JSON message |  +- ping             |
//	|  Ports ---+  |  a packet, with   |  +- python3 …        |
//	+-----------|--+  descriptors      |                      |
//	            +--- TAP or packet ----| eth0   lo   /etc/hosts
//	                 socket            +----------------------+
//
// A device is a TAP device where /dev/net/tun may be opened inside. Elsewhere,
// which is the normal case for ordinary users, it is a veth pair whose far end
// lies in a second network namespace that nothing but our packet socket holds;
// the machine's programs see an ordinary eth0 in both cases.
//
// The machine has its own /proc, /etc/hosts, /etc/resolv.conf and
// /etc/nsswitch.conf (files and dns only), its own view of /sys where the
// kernel permits it, and the rest of the file system as it is. One user exists,
// the caller, who is root inside; files of others belong to nobody.
//
// Everything ends with process 1, for that is how PID namespaces work. It is
// killed by Close, by the kernel when this process dies, and it exits by itself
// when the control socket closes.
//
// Limits: not a sandbox. Programs share the caller's files, memory and
// processors. Programs that switch to another user inside, as sshd or nginx
// started as root do, find that there is none.
package machine

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"syscall"

	"github.com/towpath/towpath/wire"
)

// Config describes a machine.
type Config struct {
	// Name is shown in errors and in process listings of the host.
	Name string
	// Hostname of the machine; empty: Name.
	Hostname   string
	Interfaces []Interface
	Routes     []Route
	// Hosts is what /etc/hosts says besides localhost and the machine itself.
	Hosts map[string][]netip.Addr
	// Nameservers is what /etc/resolv.conf says; none: names that are not in
	// /etc/hosts are not found, at once.
	Nameservers []netip.Addr
	// Forward makes the machine a router, for IPv4 and IPv6.
	Forward bool
	// Veth makes the interfaces veth pairs even where TAP devices could be had.
	Veth bool
}

// Interface is a network interface of a machine.
type Interface struct {
	Name string
	// MAC is the interface's station address; zero: the kernel draws one.
	MAC wire.MAC
	// PortMAC is the station address that the port at the other end reports;
	// zero: drawn at random.
	PortMAC wire.MAC
	// MTU in bytes; 0 means 1500.
	MTU       int
	Addresses []netip.Prefix
}

// Route is a route of a machine. Via must be reachable on an interface; a zero
// Via with an Interface is a route on the link.
type Route struct {
	To        netip.Prefix
	Via       netip.Addr
	Interface string
}

// Cmd is a program to be run on a machine.
type Cmd struct {
	// Args is the program and its arguments. A program without a slash is
	// looked up in PATH, inside.
	Args []string
	// Env is its environment; nil: this process's.
	Env []string
	// Dir is its working directory; empty: this process's.
	Dir string
	// Stdin, Stdout and Stderr are as in package os/exec: files are handed
	// over, anything else is copied; nil is /dev/null.
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// Terminal makes Stdin, which must be a terminal that nobody controls, the
	// program's controlling terminal.
	Terminal bool
}

// Check is one thing that a machine needs from the system, and whether it is
// to be had.
type Check struct {
	Name   string
	OK     bool
	Detail string // why not, or how
}

// interfacesMax is how many descriptors travel in one message.
const interfacesMax = 250

// ErrClosed is returned once a machine has been closed or has died.
var ErrClosed = errors.New("machine is not running")

// ExitError says that a program has not ended well.
type ExitError struct {
	Code   int            // exit code, -1 if killed
	Signal syscall.Signal // that killed it, or 0
}

// Error is "exit status 1" or "killed by signal: terminated".
func (e *ExitError) Error() string {
	if e.Signal != 0 {
		return "killed by signal: " + e.Signal.String()
	}
	return fmt.Sprintf("exit status %d", e.Code)
}

// check finds mistakes before anything is started.
func (c *Config) check() error {
	if len(c.Interfaces) > interfacesMax {
		return fmt.Errorf("%d interfaces: want at most %d", len(c.Interfaces), interfacesMax)
	}
	names := map[string]bool{"lo": true}
	for i := range c.Interfaces {
		ifc := &c.Interfaces[i]
		switch {
		case ifc.Name == "" || len(ifc.Name) > 15 || strings.ContainsAny(ifc.Name, "/ :%\x00\n\t"):
			return fmt.Errorf("interface name %q: want 1 to 15 letters and digits", ifc.Name)
		case names[ifc.Name]:
			return fmt.Errorf("interface %s: the name is taken", ifc.Name)
		case ifc.MTU != 0 && (ifc.MTU < 68 || ifc.MTU > 65521):
			return fmt.Errorf("interface %s: MTU %d: want 68 to 65521", ifc.Name, ifc.MTU)
		case ifc.MAC.IsMulticast():
			return fmt.Errorf("interface %s: MAC %s: is a group address", ifc.Name, ifc.MAC)
		}
		names[ifc.Name] = true
		for _, p := range ifc.Addresses {
			if !p.IsValid() {
				return fmt.Errorf("interface %s: invalid address", ifc.Name)
			}
		}
	}
	for _, r := range c.Routes {
		if !r.To.IsValid() || !r.Via.IsValid() && r.Interface == "" {
			return fmt.Errorf("route to %s: wants a gateway or an interface", r.To)
		}
		if r.Interface != "" && !names[r.Interface] {
			return fmt.Errorf("route to %s: no such interface %q", r.To, r.Interface)
		}
	}
	for name := range c.Hosts {
		if name == "" || strings.ContainsAny(name, " \t\n#") {
			return fmt.Errorf("host name %q: not a name", name)
		}
	}
	return nil
}

func (c *Config) hostname() string {
	if c.Hostname != "" {
		return c.Hostname
	}
	return c.Name
}
