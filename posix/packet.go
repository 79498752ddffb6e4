package posix

import (
	"encoding/binary"
	"math/bits"
	"syscall"

	"github.com/towpath/towpath/capture/bpf"
	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/wire"
)

// Numbers of packet sockets.
const (
	AF_PACKET = 17

	SOL_PACKET = 263

	PACKET_ADD_MEMBERSHIP  = 1
	PACKET_DROP_MEMBERSHIP = 2
	PACKET_STATISTICS      = 6
	PACKET_AUXDATA         = 8
	PACKET_IGNORE_OUTGOING = 23

	ETH_P_ALL = host.EtherTypeAll

	SO_ATTACH_FILTER = 26
	SO_DETACH_FILTER = 27
)

// networkOrder turns an EtherType as a program holds it, in network order, into
// its number, and back.
func networkOrder(n int) int { return int(bits.ReverseBytes16(uint16(n))) }

// AddrOfLink is the address of a packet socket.
func AddrOfLink(x host.LinkAddr) Addr { return Addr{Family: AF_PACKET, Link: x} }

// recvFrame receives from a packet socket.
func (p *Process) recvFrame(f *file, b []byte, flags int) (m Msg, e syscall.Errno) {
	m.Data = b
	var info host.FrameInfo
	e = p.retry(f, flags&MSG_DONTWAIT != 0, f.rcvTimeo, func() (e syscall.Errno) {
		m.N, info, e = f.sock.RecvFrame(b, flags&MSG_PEEK)
		return e
	})
	if e != 0 {
		return m, e
	}
	size := m.N
	if m.N > len(b) {
		m.Flags |= MSG_TRUNC
		if flags&MSG_TRUNC == 0 {
			m.N = len(b)
		}
	}
	m.From = AddrOfLink(info.From)
	f.mu.Lock()
	defer f.mu.Unlock()
	m.Ctl = f.stampCmsg(m.Ctl, p.h.Clock().Wall(info.At))
	if f.recv[optName{SOL_PACKET, PACKET_AUXDATA}] {
		m.Ctl = append(m.Ctl, Cmsg{SOL_PACKET, PACKET_AUXDATA, auxData(&info, size)})
	}
	return m, 0
}

// Bits of tp_status.
const (
	tpStatusUser         = 1
	tpStatusCsumNotReady = 1 << 3
)

// auxData is struct tpacket_auxdata of a frame of which snap bytes are kept.
func auxData(info *host.FrameInfo, snap int) []byte {
	status := uint32(tpStatusUser)
	if info.Partial {
		status |= tpStatusCsumNotReady
	}
	b := binary.LittleEndian.AppendUint32(nil, status)
	b = binary.LittleEndian.AppendUint32(b, uint32(info.Size))
	b = binary.LittleEndian.AppendUint32(b, uint32(snap))
	b = binary.LittleEndian.AppendUint16(b, 0)
	b = binary.LittleEndian.AppendUint16(b, uint16(info.Net))
	return append(b, 0, 0, 0, 0) // no VLAN tag
}

// sendFrame sends by a packet socket.
func (f *file) sendFrame(b []byte, flags int, to Addr) (int, syscall.Errno) {
	var x *host.LinkAddr
	switch {
	case flags&MSG_OOB != 0:
		return -1, syscall.EOPNOTSUPP
	case to.Family == AF_PACKET:
		x = &to.Link
	case to.Family != AF_UNSPEC:
		return -1, syscall.EINVAL
	}
	if e := f.sock.SendFrame(b, x); e != 0 {
		return -1, e
	}
	return len(b), 0
}

// setPacket sets an option of packet sockets.
func (f *file) setPacket(name int, data []byte) syscall.Errno {
	switch name {
	case PACKET_ADD_MEMBERSHIP, PACKET_DROP_MEMBERSHIP:
		if len(data) < 16 { // struct packet_mreq
			return syscall.EINVAL
		}
		index, kind := int32(binary.LittleEndian.Uint32(data)), host.MemberKind(binary.LittleEndian.Uint16(data[4:]))
		return f.sock.Member(index, kind, wire.MAC(data[8:14]), name == PACKET_ADD_MEMBERSHIP)
	case PACKET_AUXDATA, PACKET_IGNORE_OUTGOING:
		v, e := optInt(SOL_PACKET, data)
		if e != 0 {
			return e
		}
		if name == PACKET_IGNORE_OUTGOING {
			if v < 0 || v > 1 {
				return syscall.EINVAL
			}
			return f.sock.IgnoreOutgoing(v != 0)
		}
		f.want(optName{SOL_PACKET, PACKET_AUXDATA}, v != 0)
		return 0
	}
	return syscall.ENOPROTOOPT
}

// getPacket reads an option of packet sockets.
func (f *file) getPacket(name int) ([]byte, syscall.Errno) {
	switch name {
	case PACKET_STATISTICS:
		seen, lost, e := f.sock.FrameStats()
		b := binary.LittleEndian.AppendUint32(nil, seen)
		return binary.LittleEndian.AppendUint32(b, lost), e
	case PACKET_AUXDATA:
		f.mu.Lock()
		defer f.mu.Unlock()
		return binary.LittleEndian.AppendUint32(nil, uint32(boolInt(f.recv[optName{SOL_PACKET, PACKET_AUXDATA}]))), 0
	}
	return nil, syscall.ENOPROTOOPT
}

// A program is a socket's filter: a BPF program.
type program struct{ m *bpf.Machine }

// Keep implements [host.PacketFilter].
func (p program) Keep(pkt []byte, x *host.FilterContext) uint32 {
	return p.m.Run(pkt, len(pkt), &bpf.Ancillary{
		Protocol: x.Protocol, PktType: uint8(x.Kind), Hatype: x.Hardware, IfIndex: uint32(x.Adapter), Mark: x.Mark, NetOffset: x.NetOffset,
	})
}

// AttachFilter gives a socket a filter (SO_ATTACH_FILTER). It fails with EINVAL
// if the program is not valid.
func (p *Process) AttachFilter(fd int, prog bpf.Program) syscall.Errno {
	f, e := p.socketOf(fd)
	if e != 0 {
		return e
	}
	m, err := bpf.Compile(prog)
	if err != nil || prog.Loops() {
		return syscall.EINVAL
	}
	return f.sock.SetFilter(program{m})
}

// attach is AttachFilter for a program as it stands in memory, behind the
// pointer of a struct sock_fprog: who has the pointer must read it.
func (p *Process) attach(fd int, data []byte) syscall.Errno {
	const size = 8 // of struct sock_filter
	if len(data) == 0 || len(data)%size != 0 {
		return syscall.EINVAL
	}
	var prog bpf.Program
	for b := data; len(b) > 0; b = b[size:] {
		prog = append(prog, bpf.Instruction{
			Op: binary.LittleEndian.Uint16(b), Jt: b[2], Jf: b[3], K: binary.LittleEndian.Uint32(b[4:]),
		})
	}
	return p.AttachFilter(fd, prog)
}
