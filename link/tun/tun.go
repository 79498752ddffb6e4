// Package tun is the driver for Linux TUN and TAP devices: the way from a host
// in this process to the kernel and its programs.
//
//	dev, err := tun.Open(tun.Config{Name: "tun0", Mode: tun.TUN, MTU: 1500})
//	adapter := link.NewAdapter("eth0", 1, dev)
//
// # Theory of operation
//
//	host     Adapter.Flush -> Send      Indicate <- readLoop      this process
//	                           | writev           ^ readv
//	-----------------------  [vnet header | packet]  ------------------------
//	                           v                  |
//	kernel                   network interface tun0
//
// Every packet crosses behind a vnet header, so that super-segments and partial
// checksums cross whole in both directions. A reader receives straight into a
// packet and its chunks, until the device is empty or 64 packets are there, and
// indicates them as one batch. It waits in the runtime's poller, where Close
// wakes it. Send writes each packet with one call and does not wait: what the
// device refuses is dropped.
//
// Open works without privileges on a device that was made persistent and given
// to the user (ip tuntap add … user …), and by root of a user namespace on a
// device of its own. [FromFD] takes a descriptor opened by somebody else, such
// as a process in another network namespace.
//
// Limits: Linux only. UDP segmentation offload is not used.
package tun

import "github.com/towpath/towpath/wire"

// Mode says what a device's packets begin with.
type Mode uint8

const (
	// TUN: packets are bare IP packets.
	TUN Mode = iota
	// TAP: packets are Ethernet frames.
	TAP
)

// String is "tun" or "tap".
func (m Mode) String() string {
	if m == TAP {
		return "tap"
	}
	return "tun"
}

// MTUDefault is the MTU of a device that nobody has given one.
const MTUDefault = 1500

// Config describes a device. The zero value is a TUN device named by the
// kernel.
type Config struct {
	// Name of the interface; it is made if there is none of that name. Empty:
	// the kernel chooses.
	Name string
	Mode Mode
	// MTU in bytes. 0: as the interface has it, or MTUDefault if that cannot
	// be known.
	MTU int
	// MAC is the station address of this end of a TAP device, not the
	// kernel's; a zero one is drawn at random.
	MAC wire.MAC
	// Plain devices carry neither super-segments nor partial checksums.
	Plain bool
	// Queues is the number of queues, each with a reader of its own; 0 means 1.
	Queues int
}
