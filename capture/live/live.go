package live

import (
	"errors"
	"time"
)

// Any is the device that stands for all interfaces.
const Any = "any"

const (
	// SnaplenMax is the longest snapshot length, in bytes.
	SnaplenMax = 262144
	// bufferUsual and delayUsual are defaults of Config.
	bufferUsual = 4 << 20
	delayUsual  = 100 * time.Millisecond
)

// ErrTimeout is returned by Next when no packet came in time.
var ErrTimeout = errors.New("no packet within the timeout")

// Config shapes a capture. The zero value is a good one.
type Config struct {
	// Snaplen bounds how many bytes of a packet are captured; 0 means
	// SnaplenMax.
	Snaplen int
	// Promisc also captures what is addressed to other stations.
	Promisc bool
	// Immediate shows each packet as soon as it is there.
	Immediate bool
	// Delay bounds how long packets may wait to be seen together, unless
	// Immediate; 0 means 100 ms.
	Delay time.Duration
	// Buffer is how many bytes of packets may wait; 0 means 4 MiB.
	Buffer int
	// Cooked captures with the header LINUX_SLL2 whatever the interface is.
	Cooked bool
	// Protocol is the EtherType that is captured; 0 means all.
	Protocol uint16
}

func (c *Config) defaults() {
	if c.Snaplen <= 0 || c.Snaplen > SnaplenMax {
		c.Snaplen = SnaplenMax
	}
	if c.Delay <= 0 {
		c.Delay = delayUsual
	}
	if c.Buffer <= 0 {
		c.Buffer = bufferUsual
	}
}

// Stats are a capture's counters.
type Stats struct {
	Received  uint64 // packets that passed the filter in the kernel, also those dropped
	Dropped   uint64 // of these, how many did not fit into the buffer
	IfDropped uint64 // packets that the interface lost before
}
