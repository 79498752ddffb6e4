// Package savefile reads and writes the files in which captured packets are
// kept: pcap, as tcpdump -w writes it and every such tool reads it, and pcapng,
// which Wireshark writes and which also knows interfaces and directions.
//
//	w, err := savefile.NewWriter(f, savefile.Header{Link: wire.LinkEthernet})
//	err = w.WritePacket(time.Now(), frame, len(frame))
//
//	r, err := savefile.NewReader(f)
//	for {
//		p, err := r.Next()
//		if err == io.EOF {
//			break
//		}
//		…
//	}
//
//	w, err := savefile.NewPcapngWriter(f, savefile.Section{Application: "towpath"})
//	n, err := w.AddInterface(savefile.Interface{Name: "alice:eth0", Link: wire.LinkEthernet})
//	err = w.WritePacket(savefile.Packet{Interface: n, Time: at, Data: frame, Length: len(frame)})
//
// # The format pcap
//
//	magic number  version 2.4  zone 0  accuracy 0  snapshot length  link type
//	  for each packet: seconds  fraction  captured length  original length  bytes
//
// All numbers but the version's two are 32 bits wide, in the byte order that
// the magic number shows: 0xa1b2c3d4 for fractions in microseconds, 0xa1b23c4d
// for nanoseconds. Both, in both byte orders, are read; written is what
// [Header] asks for, in this machine's order unless it says another.
//
// # The format pcapng
//
// A file is a row of blocks, each of which begins and ends with its length:
//
//	type  length  fields  data and options, filled up to four bytes  length
//
//	0x0a0d0d0a  section: byte order, version; who wrote it
//	1           interface: link type, snapshot length; name, unit of time
//	6           packet: interface, time, two lengths; bytes; direction, comment
//	3           packet of the first interface, without a time
//	5           statistics: interface, time; received, dropped
//
// Written is one section, with times in nanoseconds. Read are any number of
// sections in either byte order, with times in every decimal or binary unit
// and with an offset, and the obsolete packet block 2. Blocks of other kinds
// are skipped.
//
// # Limits
//
// Files are taken as hostile. A reader of pcap never holds more than
// [PacketMax] bytes, one of pcapng a block of 1 MiB and 4096 interfaces. They
// refuse packets that claim more than PacketMax, or more captured bytes than
// the packet had, and blocks whose two lengths differ or whose parts reach
// beyond them. [NewReader] tells pcapng from pcap and refuses it, with
// [ErrPcapng]; [NewSource] reads both, also when compressed with gzip. Names
// of addresses and secrets of pcapng are skipped, and so are comments but the
// first of a packet.
package savefile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/towpath/towpath/wire"
)

const (
	// PacketMax bounds the captured bytes of a packet. It is the snapshot
	// length that tcpdump takes unless told otherwise.
	PacketMax = 262144

	magicMicro  = 0xa1b2c3d4
	magicNano   = 0xa1b23c4d
	magicPcapng = 0x0a0d0d0a // the same in both byte orders

	versionMajor, versionMinor = 2, 4

	headerLen = 24
	recordLen = 16
	linkMask  = 0x03ffffff // the rest tells of frame check sequences
)

// A Header is what a file says about all its packets.
type Header struct {
	// Link is what the packets begin with.
	Link wire.LinkType
	// Snaplen bounds the captured bytes of a packet; 0 means PacketMax.
	Snaplen int
	// Micro: times are in microseconds, for readers older than 2012; otherwise
	// they are in nanoseconds.
	Micro bool
	// Order is the byte order of the file's numbers; nil: this machine's.
	Order binary.ByteOrder
}

// A Packet is one captured packet.
type Packet struct {
	Time   time.Time
	Data   []byte // the captured bytes
	Length int    // of the packet before it was cut to the snapshot length

	// Of pcapng files only:

	Interface int // its number in its section
	Direction Direction
	Comment   string // at most 1024 bytes are kept
}

// A Writer writes a file.
type Writer struct {
	w     io.Writer
	order binary.ByteOrder
	unit  int64 // nanoseconds in a unit of the fraction
	snap  int
	buf   []byte
}

// NewWriter begins a file on w.
func NewWriter(w io.Writer, h Header) (*Writer, error) {
	if h.Snaplen == 0 {
		h.Snaplen = PacketMax
	}
	if h.Snaplen < 0 || h.Snaplen > PacketMax {
		return nil, fmt.Errorf("savefile: snapshot length %d is not from 1 to %d", h.Snaplen, PacketMax)
	}
	f := &Writer{w: w, order: orderOf(h.Order), unit: 1, snap: h.Snaplen}
	magic := uint32(magicNano)
	if h.Micro {
		magic, f.unit = magicMicro, 1000
	}
	b := make([]byte, headerLen)
	f.order.PutUint32(b, magic)
	f.order.PutUint16(b[4:], versionMajor)
	f.order.PutUint16(b[6:], versionMinor)
	f.order.PutUint32(b[16:], uint32(h.Snaplen))
	f.order.PutUint32(b[20:], uint32(h.Link))
	_, err := w.Write(b)
	return f, err
}

// WritePacket writes a packet of which data are the captured bytes and length
// the length it had. It writes once to the underlying writer and keeps nothing.
// Data beyond the snapshot length are left out.
func (f *Writer) WritePacket(t time.Time, data []byte, length int) error {
	if length < len(data) {
		return fmt.Errorf("savefile: %d captured bytes of a packet of %d", len(data), length)
	}
	if uint64(length) > math.MaxUint32 {
		return fmt.Errorf("savefile: a packet of %d bytes", length)
	}
	s := t.Unix()
	if s < 0 || s > math.MaxUint32 {
		return fmt.Errorf("savefile: the time %v cannot be written; files know the years 1970 to 2106", t)
	}
	data = data[:min(len(data), f.snap)]
	f.buf = append(f.buf[:0], make([]byte, recordLen)...)
	f.order.PutUint32(f.buf, uint32(s))
	f.order.PutUint32(f.buf[4:], uint32(int64(t.Nanosecond())/f.unit))
	f.order.PutUint32(f.buf[8:], uint32(len(data)))
	f.order.PutUint32(f.buf[12:], uint32(length))
	f.buf = append(f.buf, data...)
	_, err := f.w.Write(f.buf)
	return err
}

// A Reader reads a file.
type Reader struct {
	r      io.Reader
	header Header
	order  binary.ByteOrder
	unit   int64
	n      int   // packets read
	at     int64 // bytes read
	buf    []byte
	err    error
}

// Errors that NewReader returns for files of other formats.
var (
	ErrFormat = errors.New("savefile: not a pcap file")
	ErrPcapng = fmt.Errorf("%w but a pcapng file", ErrFormat)
)

// NewReader begins to read a file.
func NewReader(r io.Reader) (*Reader, error) {
	b := make([]byte, headerLen)
	if n, err := io.ReadFull(r, b); err != nil {
		if n >= 4 && binary.BigEndian.Uint32(b) == magicPcapng {
			return nil, ErrPcapng
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return nil, fmt.Errorf("%w: it has %d bytes, fewer than the header", ErrFormat, n)
		}
		return nil, fmt.Errorf("savefile: %w", err)
	}
	f := &Reader{r: r, at: headerLen}
	if err := f.magic(b); err != nil {
		return nil, err
	}
	// Minor versions before 4 have the two lengths swapped, in part.
	if major, minor := f.order.Uint16(b[4:]), f.order.Uint16(b[6:]); major != versionMajor || minor != versionMinor {
		return nil, fmt.Errorf("%w of version 2.4 but %d.%d", ErrFormat, major, minor)
	}
	// Snapshot lengths of zero or beyond the maximum have been written by
	// tools that meant: all. Packets are checked one by one.
	f.header.Snaplen = int(min(f.order.Uint32(b[16:]), PacketMax))
	if f.header.Snaplen == 0 {
		f.header.Snaplen = PacketMax
	}
	link := f.order.Uint32(b[20:]) & linkMask
	if link > math.MaxUint16 {
		return nil, fmt.Errorf("savefile: link type %d is unknown", link)
	}
	f.header.Link = wire.LinkType(link)
	return f, nil
}

func (f *Reader) magic(b []byte) error {
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		switch order.Uint32(b) {
		case magicMicro:
			f.order, f.unit, f.header.Micro = order, 1000, true
		case magicNano:
			f.order, f.unit = order, 1
		default:
			continue
		}
		f.header.Order = order
		return nil
	}
	if binary.BigEndian.Uint32(b) == magicPcapng {
		return ErrPcapng
	}
	return fmt.Errorf("%w: it begins with % x", ErrFormat, b[:4])
}

// Header is what the file says about all its packets.
func (f *Reader) Header() Header { return f.header }

// Next reads a packet, whose Data are lent until the next call. The end of the
// file is io.EOF; an end in the middle of a packet, as a writer that was killed
// leaves it, is an error for which errors.Is finds io.ErrUnexpectedEOF. Every
// further call returns the same error.
func (f *Reader) Next() (Packet, error) {
	if f.err != nil {
		return Packet{}, f.err
	}
	p, err := f.next()
	if err != nil {
		f.err = err
		return Packet{}, err
	}
	f.n++
	return p, nil
}

func (f *Reader) next() (Packet, error) {
	var b [recordLen]byte
	n, err := io.ReadFull(f.r, b[:])
	if err == io.EOF {
		return Packet{}, io.EOF
	}
	if err != nil {
		return Packet{}, f.fail("its header ends after %d bytes: %w", n, err)
	}
	seconds, fraction := f.order.Uint32(b[:]), f.order.Uint32(b[4:])
	captured, length := f.order.Uint32(b[8:]), f.order.Uint32(b[12:])
	switch {
	case captured > PacketMax:
		return Packet{}, f.fail("it claims %d captured bytes; there are at most %d", captured, PacketMax)
	case captured > length:
		return Packet{}, f.fail("it claims %d captured bytes of a packet of %d", captured, length)
	case int64(fraction)*f.unit >= 1e9:
		return Packet{}, f.fail("its time has a fraction of %d, a second or more", fraction)
	case uint64(length) > math.MaxInt32:
		return Packet{}, f.fail("it claims a length of %d bytes", length)
	}
	if cap(f.buf) < int(captured) {
		f.buf = make([]byte, max(int(captured), 2048))
	}
	data := f.buf[:captured]
	if n, err = io.ReadFull(f.r, data); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return Packet{}, f.fail("it ends after %d of %d bytes: %w", n, captured, err)
	}
	f.at += recordLen + int64(captured)
	return Packet{
		Time:   time.Unix(int64(seconds), int64(fraction)*f.unit).UTC(),
		Data:   data,
		Length: int(length),
	}, nil
}

// fail says in which packet something is wrong.
func (f *Reader) fail(format string, args ...any) error {
	return fmt.Errorf("savefile: packet %d at byte %d: "+format, append([]any{f.n + 1, f.at}, args...)...)
}
