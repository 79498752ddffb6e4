package live

import (
	"encoding/binary"
	"os"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

var native = binary.NativeEndian

// Sizes of blocks. A block holds the longest packet.
const (
	blockMin = 512 << 10
	blockMax = 1 << 20
	frameLen = 2048 // a unit that the kernel asks for; packets may be longer
)

// Where fields are in a block (struct tpacket_block_desc) and in front of a
// packet (struct tpacket3_hdr, and behind it struct sockaddr_ll).
const (
	blockStatus = 8
	blockCount  = 12
	blockFirst  = 16
	blockHead   = 48

	packetNext    = 0
	packetSec     = 4
	packetNsec    = 8
	packetSnaplen = 12
	packetLen     = 16
	packetStatus  = 20
	packetMAC     = 24
	packetHash    = 28
	packetTCI     = 32
	packetTPID    = 36
	packetAddr    = 48
	packetHead    = packetAddr + unix.SizeofSockaddrLinklayer
)

// A ring is memory in blocks that the kernel fills one after the other
// (Documentation/networking/packet_mmap.rst, TPACKET_V3).
type ring struct {
	mem    []byte
	block  int    // bytes
	at     int    // the block being read, or the next one
	now    []byte // that block; nil: the kernel has it
	left   uint32 // packets of it
	offset uint32 // of the next packet in it
	since  time.Time
}

// oldTime is how long after a filter was set packets are still taken as older:
// some processor may be about to put one into the ring.
const oldTime = 5 * time.Millisecond

func (r *ring) switched() { r.since = time.Now().Add(oldTime) }

func newRing(fd int, c *Config) (*ring, error) {
	block := blockMax
	for block > blockMin && block*4 > c.Buffer {
		block /= 2
	}
	blocks := max(2, (c.Buffer+block-1)/block)
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VERSION, unix.TPACKET_V3); err != nil {
		return nil, os.NewSyscallError("setsockopt PACKET_VERSION", err)
	}
	req := unix.TpacketReq3{
		Block_size: uint32(block), Block_nr: uint32(blocks), Frame_size: frameLen, Frame_nr: uint32(block / frameLen * blocks),
		Retire_blk_tov: uint32(max(1, c.Delay/time.Millisecond)),
	}
	if err := unix.SetsockoptTpacketReq3(fd, unix.SOL_PACKET, unix.PACKET_RX_RING, &req); err != nil {
		return nil, os.NewSyscallError("setsockopt PACKET_RX_RING", err)
	}
	mem, err := unix.Mmap(fd, 0, block*blocks, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	return &ring{mem: mem, block: block}, nil
}

// status is the word of a block that says whose it is.
func status(block []byte) *uint32 { return (*uint32)(unsafe.Pointer(&block[blockStatus])) }

func (r *ring) more() bool { return r.left > 0 }

func (r *ring) fill(int) (bool, error) {
	for r.left == 0 {
		if r.now != nil {
			atomic.StoreUint32(status(r.now), unix.TP_STATUS_KERNEL)
			r.now = nil
			if r.at += r.block; r.at == len(r.mem) {
				r.at = 0
			}
		}
		b := r.mem[r.at : r.at+r.block]
		if atomic.LoadUint32(status(b))&unix.TP_STATUS_USER == 0 {
			return false, nil
		}
		r.now, r.left, r.offset = b, native.Uint32(b[blockCount:]), native.Uint32(b[blockFirst:])
	}
	return true, nil
}

func (r *ring) next() (a arrival) {
	r.left--
	p := r.now[r.offset:]
	r.offset += native.Uint32(p[packetNext:])
	mac := uint32(native.Uint16(p[packetMAC:]))
	addr := p[packetAddr:]
	a = arrival{
		at:     time.Unix(int64(native.Uint32(p[packetSec:])), int64(native.Uint32(p[packetNsec:]))),
		data:   p[mac:][:native.Uint32(p[packetSnaplen:])],
		length: int(native.Uint32(p[packetLen:])),
		status: native.Uint32(p[packetStatus:]),
		tci:    uint16(native.Uint32(p[packetTCI:])),
		tpid:   native.Uint16(p[packetTPID:]),
		rxhash: native.Uint32(p[packetHash:]),
	}
	a.old = !a.at.After(r.since)
	a.from((*unix.RawSockaddrLinklayer)(unsafe.Pointer(&addr[0])))
	return a
}

// from takes over what the address of a packet says.
func (a *arrival) from(s *unix.RawSockaddrLinklayer) {
	a.protocol, a.index, a.hatype = htons(s.Protocol), uint32(s.Ifindex), s.Hatype
	a.kind, a.addr, a.addrLen = s.Pkttype, s.Addr, s.Halen
}

func (r *ring) count(fd int, s *Stats) {
	// Reading sets the kernel's counters to 0.
	if k, err := unix.GetsockoptTpacketStatsV3(fd, unix.SOL_PACKET, unix.PACKET_STATISTICS); err == nil {
		s.Received += uint64(k.Packets)
		s.Dropped += uint64(k.Drops)
	}
}

func (r *ring) close() error {
	mem := r.mem
	r.mem, r.now, r.left = nil, nil, 0
	return os.NewSyscallError("munmap", unix.Munmap(mem))
}
