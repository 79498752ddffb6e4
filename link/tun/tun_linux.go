package tun

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/towpath/towpath/internal/sys"
	"github.com/towpath/towpath/internal/sys/vnet"
	"github.com/towpath/towpath/link"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// batchMax is how many packets are indicated at once.
const batchMax = 64

// Device is a TUN or TAP device, a [link.Miniport].
type Device struct {
	name    string
	caps    link.Capabilities
	hdrLen  int // vnet.Len, or 0 on a plain device
	queues  []*queue
	readers sync.WaitGroup

	mu     sync.Mutex
	closed bool

	adapter atomic.Pointer[link.Adapter] // nil before Start

	// Of Send, which runs once at a time.
	pool    packet.Pool
	write   func(fd uintptr) bool // writeOut as a value, made once
	out     *packet.List
	refused packet.List
	txHdr   [vnet.Len]byte
	txIov   [vnet.IovecMax]unix.Iovec
}

// queue is one descriptor of a device.
type queue struct {
	file *os.File
	conn syscall.RawConn

	// Of readLoop.
	pool packet.Pool
	slot vnet.Slot
	in   packet.List
	bad  packet.List // of one reason
	err  error
}

// Open opens or makes the device that c describes.
func Open(c Config) (*Device, error) {
	flags := uint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if c.Mode == TAP {
		flags = unix.IFF_TAP | unix.IFF_NO_PI
	}
	if !c.Plain {
		flags |= unix.IFF_VNET_HDR
	}
	queues := max(c.Queues, 1)
	if queues > 1 {
		flags |= unix.IFF_MULTI_QUEUE
	}
	d := newDevice(c)
	d.name = c.Name
	for range queues {
		fd, name, err := sys.OpenTun(d.name, flags)
		if err != nil {
			d.Close()
			return nil, fmt.Errorf("tun: %w", err)
		}
		d.name = name
		if err := d.addQueue(fd); err != nil {
			d.Close()
			return nil, fmt.Errorf("tun: %s: %w", name, err)
		}
	}
	if err := d.fitMTU(c.MTU); err != nil {
		d.Close()
		return nil, fmt.Errorf("tun: %w", err)
	}
	return d, nil
}

// FromFD takes over the descriptor of an open TUN or TAP device, whatever
// namespace the device is in. Mode, vnet header and name are learned from the
// device; of c the MTU and the MAC are used. If it fails, fd is still the
// caller's.
func FromFD(fd int, c Config) (*Device, error) {
	name, flags, err := sys.TunInfo(fd)
	if err != nil {
		return nil, fmt.Errorf("tun: %w", err)
	}
	if flags&unix.IFF_NO_PI == 0 {
		return nil, fmt.Errorf("tun: %s: opened without IFF_NO_PI", name)
	}
	c.Mode = TUN
	if flags&unix.IFF_TAP != 0 {
		c.Mode = TAP
	}
	c.Plain = flags&unix.IFF_VNET_HDR == 0
	d := newDevice(c)
	d.name = name
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, fmt.Errorf("tun: %s: %w", name, err)
	}
	if err := d.setUp(fd); err != nil {
		return nil, fmt.Errorf("tun: %s: %w", name, err)
	}
	if err := d.addFile(fd); err != nil {
		return nil, fmt.Errorf("tun: %s: %w", name, err)
	}
	return d, nil
}

func newDevice(c Config) *Device {
	d := &Device{caps: link.Capabilities{Medium: link.MediumIP, MTU: c.MTU}}
	if c.MTU == 0 {
		d.caps.MTU = MTUDefault
	}
	if c.Mode == TAP {
		d.caps.Medium, d.caps.MAC = link.MediumEthernet, c.MAC
		if c.MAC.IsZero() {
			d.caps.MAC = randomMAC()
		}
	}
	if !c.Plain {
		d.hdrLen = vnet.Len
		d.caps.GSOMax, d.caps.TxChecksum = packet.SizeMax, true
	}
	d.write = d.writeOut
	return d
}

func randomMAC() (m wire.MAC) {
	rand.Read(m[:])
	m[0] = m[0]&^1 | 2 // locally administered, unicast
	return m
}

// addQueue takes over fd in any case.
func (d *Device) addQueue(fd int) error {
	err := d.setUp(fd)
	if err == nil {
		err = d.addFile(fd)
	}
	if err != nil {
		unix.Close(fd)
	}
	return err
}

func (d *Device) setUp(fd int) error {
	if d.hdrLen == 0 {
		return nil
	}
	return sys.SetTunVNet(fd, d.hdrLen, sys.TunOffload)
}

func (d *Device) addFile(fd int) error {
	// The descriptor is attached to its interface by now, which it must be
	// before the poller looks at it.
	f := os.NewFile(uintptr(fd), sys.TunPath)
	if f == nil {
		return unix.EBADF
	}
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	d.queues = append(d.queues, &queue{file: f, conn: conn})
	return nil
}

// fitMTU makes interface and capabilities agree.
func (d *Device) fitMTU(want int) error {
	ifi, err := net.InterfaceByName(d.name)
	if err != nil {
		return err
	}
	if want == 0 || want == ifi.MTU {
		d.caps.MTU = ifi.MTU
		return nil
	}
	nl, err := sys.OpenNetlink()
	if err != nil {
		return err
	}
	defer nl.Close()
	if err := nl.SetLink(ifi.Index, sys.Link{MTU: want}); err != nil {
		return fmt.Errorf("%s: MTU %d: %w", d.name, want, err)
	}
	return nil
}

// Name is the name of the kernel's interface.
func (d *Device) Name() string { return d.name }

// Capabilities implements [link.Miniport].
func (d *Device) Capabilities() link.Capabilities { return d.caps }

// Start implements [link.Miniport].
func (d *Device) Start(a *link.Adapter) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return os.ErrClosed
	}
	d.adapter.Store(a)
	for _, q := range d.queues {
		d.readers.Add(1)
		go d.readLoop(q, a)
	}
	return nil
}

// readLoop indicates what the device sends until it is closed or gone.
func (d *Device) readLoop(q *queue, a *link.Adapter) {
	defer d.readers.Done()
	defer func() {
		q.slot.Release(&q.pool)
		q.pool.Trim()
	}()
	read := func(fd uintptr) bool { return d.readIn(q, int(fd), a) }
	for {
		err := q.conn.Read(read)
		if !q.in.Empty() {
			w := link.NewWork(nil)
			a.Indicate(&q.in, w)
			w.Run()
		}
		if q.err != nil {
			a.SetUp(false) // the interface is gone
		}
		if err != nil || q.err != nil {
			return
		}
	}
}

// readIn fills q.in and reports false if there is nothing to read.
func (d *Device) readIn(q *queue, fd int, a *link.Adapter) bool {
	for read := 0; read < batchMax; read++ {
		iov := q.slot.Prepare(&q.pool)
		if d.hdrLen == 0 {
			iov = iov[1:]
		}
		n, errno := vector(unix.SYS_READV, fd, iov)
		switch {
		case errno == 0:
			d.take(q, n, a)
		case errno == unix.EAGAIN:
			return read > 0
		case errno == unix.EINTR:
		default: // the interface has been deleted
			q.err = errno
			return true
		}
	}
	return true
}

// take makes a packet of the n bytes read.
func (d *Device) take(q *queue, n int, a *link.Adapter) {
	p := q.slot.Take(&q.pool, max(n-d.hdrLen, 0))
	p.Link = p.Start()
	if r := d.check(q, p, n); r != packet.NotDropped {
		q.bad.Push(p)
		a.DropIn(&q.bad, r)
		return
	}
	q.in.Push(p)
}

func (d *Device) check(q *queue, p *packet.Packet, n int) packet.Reason {
	ethernet := d.caps.Medium == link.MediumEthernet
	switch {
	case n <= d.hdrLen, ethernet && p.Len() < wire.EthernetLen:
		return packet.ReasonDeviceShort
	case d.hdrLen == 0:
		return packet.NotDropped
	}
	return vnet.Decode(&q.slot.Hdr, p, ethernet)
}

// Send implements [link.Miniport].
func (d *Device) Send(l *packet.List, _ *link.Work) {
	a := d.adapter.Load()
	if l.Empty() {
		return
	}
	d.out = l
	err := d.queues[0].conn.Write(d.write)
	d.out = nil
	if err != nil {
		a.Drop(l, packet.ReasonDeviceClosed)
	}
	a.Drop(&d.refused, packet.ReasonDeviceWrite)
}

// writeOut writes all packets.
func (d *Device) writeOut(fd uintptr) bool {
	for p := d.out.Pop(); p != nil; p = d.out.Pop() {
		if d.writePacket(int(fd), p) {
			d.pool.Free(p)
		} else {
			d.refused.Push(p)
		}
	}
	return true
}

func (d *Device) writePacket(fd int, p *packet.Packet) bool {
	iov := d.txIov[:0]
	if d.hdrLen != 0 {
		vnet.Encode(&d.txHdr, p)
		iov = append(iov, unix.Iovec{Base: &d.txHdr[0]})
		iov[0].SetLen(d.hdrLen)
	}
	iov = vnet.AppendPacket(iov, p)
	if p.Len() == 0 {
		return false
	}
	for {
		_, errno := vector(unix.SYS_WRITEV, fd, iov)
		if errno != unix.EINTR {
			return errno == 0
		}
	}
}

// vector is readv or writev. Unlike those of the unix package it allocates
// nothing.
func vector(trap uintptr, fd int, iov []unix.Iovec) (int, unix.Errno) {
	n, _, errno := unix.Syscall(trap, uintptr(fd), uintptr(unsafe.Pointer(&iov[0])), uintptr(len(iov)))
	return int(n), errno
}

// Close implements [link.Miniport]. It may be called more than once. An
// interface that is not persistent goes away.
func (d *Device) Close() error {
	d.mu.Lock()
	first := !d.closed
	d.closed = true
	d.mu.Unlock()
	var errs []error
	if first {
		for _, q := range d.queues {
			errs = append(errs, q.file.Close())
		}
	}
	d.readers.Wait()
	return errors.Join(errs...)
}
