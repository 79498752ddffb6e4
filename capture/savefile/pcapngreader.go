package savefile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/bits"
	"time"

	"github.com/towpath/towpath/wire"
)

// ErrNotPcapng is returned by NewPcapngReader for files of other formats.
var ErrNotPcapng = errors.New("savefile: not a pcapng file")

// A PcapngReader reads a pcapng file.
type PcapngReader struct {
	r          io.Reader
	order      binary.ByteOrder
	section    Section
	interfaces []Interface
	blocks     int   // read
	at         int64 // where the block being read begins
	buf        []byte
	err        error
}

// NewPcapngReader begins to read a file.
func NewPcapngReader(r io.Reader) (*PcapngReader, error) {
	f := &PcapngReader{r: r}
	var b [8]byte
	n, err := io.ReadFull(r, b[:])
	switch {
	case err != nil && err != io.EOF && err != io.ErrUnexpectedEOF:
		return nil, fmt.Errorf("savefile: %w", err)
	case n >= 4 && binary.BigEndian.Uint32(b[:]) != magicPcapng:
		return nil, fmt.Errorf("%w: it begins with % x", ErrNotPcapng, b[:4])
	case n < len(b):
		return nil, fmt.Errorf("%w: it has %d bytes, fewer than the first block", ErrNotPcapng, n)
	}
	if err := f.readSection(b); err != nil {
		return nil, err
	}
	return f, nil
}

// Section is what the file says about the section that is being read.
func (f *PcapngReader) Section() Section { return f.section }

// Interfaces are the section's interfaces as far as they have been read, by
// their numbers. What is said of their statistics comes last in a file.
func (f *PcapngReader) Interfaces() []Interface { return f.interfaces }

// Next reads a packet, whose Data are lent until the next call. The end of the
// file is io.EOF; an end in the middle of a block, as a writer that was killed
// leaves it, is an error for which errors.Is finds io.ErrUnexpectedEOF. Every
// further call returns the same error.
func (f *PcapngReader) Next() (Packet, error) {
	for f.err == nil {
		p, ok, err := f.block()
		if f.err = err; ok {
			return p, nil
		}
	}
	return Packet{}, f.err
}

// block reads a block, and reports whether it was a packet.
func (f *PcapngReader) block() (p Packet, ok bool, err error) {
	var b [8]byte
	n, err := io.ReadFull(f.r, b[:])
	if err == io.EOF {
		return p, false, io.EOF
	}
	if err != nil {
		return p, false, f.fail("it ends after %d bytes: %w", n, err)
	}
	kind := f.order.Uint32(b[:])
	if kind == blockSection {
		return p, false, f.readSection(b)
	}
	length := f.order.Uint32(b[4:])
	switch kind {
	case blockInterface, blockPacket, blockSimple, blockStatistics, blockEnhanced:
	default:
		return p, false, f.skip(length)
	}
	body, err := f.read(length)
	if err != nil {
		return p, false, err
	}
	switch kind {
	case blockInterface:
		err = f.readInterface(body)
	case blockStatistics:
		err = f.readStatistics(body)
	case blockSimple:
		p, err = f.readSimple(body)
		ok = err == nil
	default:
		p, err = f.readPacket(body, kind)
		ok = err == nil
	}
	f.done(length)
	return p, ok, err
}

// checkLength looks at a block's length.
func (f *PcapngReader) checkLength(length, most uint32) error {
	switch {
	case length < blockMin || length%4 != 0:
		return f.fail("its length is %d; lengths are multiples of four from %d on", length, blockMin)
	case length > most:
		return f.fail("its length is %d; there are at most %d bytes in such a block", length, most)
	}
	return nil
}

// read reads the rest of a block whose length is known, and returns it without
// the second length.
func (f *PcapngReader) read(length uint32) ([]byte, error) {
	if err := f.checkLength(length, blockKeptMax); err != nil {
		return nil, err
	}
	rest := int(length) - 8
	if cap(f.buf) < rest {
		f.buf = make([]byte, max(rest, 4096))
	}
	body := f.buf[:rest]
	if n, err := io.ReadFull(f.r, body); err != nil {
		return nil, f.short(8+n, length, err)
	}
	if again := f.order.Uint32(body[rest-4:]); again != length {
		return nil, f.fail("it begins with a length of %d and ends with one of %d", length, again)
	}
	return body[:rest-4], nil
}

// skip leaves a block out.
func (f *PcapngReader) skip(length uint32) error {
	if err := f.checkLength(length, blockMax); err != nil {
		return err
	}
	n, err := io.CopyN(io.Discard, f.r, int64(length)-12)
	if err != nil {
		return f.short(8+int(n), length, err)
	}
	var b [4]byte
	if n, err := io.ReadFull(f.r, b[:]); err != nil {
		return f.short(int(length)-4+n, length, err)
	}
	if again := f.order.Uint32(b[:]); again != length {
		return f.fail("it begins with a length of %d and ends with one of %d", length, again)
	}
	f.done(length)
	return nil
}

func (f *PcapngReader) done(length uint32) {
	f.blocks++
	f.at += int64(length)
}

// fail says in which block something is wrong.
func (f *PcapngReader) fail(format string, args ...any) error {
	return fmt.Errorf("savefile: block %d at byte %d: "+format, append([]any{f.blocks + 1, f.at}, args...)...)
}

func (f *PcapngReader) short(n int, length uint32, err error) error {
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return f.fail("it ends after %d of %d bytes: %w", n, length, err)
}

// readSection reads a section's head, which shows the byte order, of which the
// first eight bytes have been read.
func (f *PcapngReader) readSection(first [8]byte) error {
	var magic [4]byte
	if n, err := io.ReadFull(f.r, magic[:]); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return f.fail("it ends after %d bytes: %w", 8+n, err)
	}
	switch uint32(byteOrderMagic) {
	case binary.LittleEndian.Uint32(magic[:]):
		f.order = binary.LittleEndian
	case binary.BigEndian.Uint32(magic[:]):
		f.order = binary.BigEndian
	default:
		return f.fail("its byte order is % x", magic)
	}
	length := f.order.Uint32(first[4:])
	if length < blockMin+fieldsSection {
		return f.fail("its length is %d; a section's first block has %d bytes or more", length, blockMin+fieldsSection)
	}
	// The magic number has been read already.
	whole := f.r
	f.r = io.MultiReader(bytes.NewReader(magic[:]), whole)
	b, err := f.read(length)
	f.r = whole
	if err != nil {
		return err
	}
	if major, minor := f.order.Uint16(b[4:]), f.order.Uint16(b[6:]); major != sectionMajor || minor != 0 && minor != 2 {
		return f.fail("it is of version %d.%d, not of 1.0", major, minor)
	}
	f.section, f.interfaces = Section{Order: f.order}, nil
	err = f.options(b[fieldsSection:], func(code uint16, value []byte) error {
		switch code {
		case optionHardware:
			f.section.Hardware = text(value)
		case optionOS:
			f.section.OS = text(value)
		case optionApplication:
			f.section.Application = text(value)
		}
		return nil
	})
	f.done(length)
	return err
}

func text(b []byte) string { return string(b[:min(len(b), textMax)]) }

// options goes through a block's options.
func (f *PcapngReader) options(b []byte, each func(code uint16, value []byte) error) error {
	for len(b) > 0 {
		if len(b) < 4 {
			return f.fail("its last option has %d bytes", len(b))
		}
		code, n := f.order.Uint16(b), int(f.order.Uint16(b[2:]))
		if b = b[4:]; code == optionEnd {
			return nil
		}
		if padded(n) > len(b) {
			return f.fail("its option %d has %d bytes, of which %d are there", code, n, len(b))
		}
		if err := each(code, b[:n]); err != nil {
			return err
		}
		b = b[padded(n):]
	}
	return nil
}

func (f *PcapngReader) readInterface(b []byte) error {
	switch {
	case len(b) < fieldsIDB:
		return f.fail("it is an interface of %d bytes", len(b))
	case len(f.interfaces) == interfacesMax:
		return f.fail("there are more than %d interfaces", interfacesMax)
	}
	i := Interface{Link: wire.LinkType(f.order.Uint16(b)), Snaplen: int(min(f.order.Uint32(b[4:]), PacketMax)), divisor: 1e6}
	if i.Snaplen == 0 {
		i.Snaplen = PacketMax
	}
	err := f.options(b[fieldsIDB:], func(code uint16, value []byte) error {
		switch code {
		case optionName:
			i.Name = text(value)
		case optionDescription:
			i.Description = text(value)
		case optionResolution:
			if len(value) != 1 {
				return f.fail("its unit of time has %d bytes", len(value))
			}
			return f.resolution(&i, value[0])
		case optionTimeOffset:
			if len(value) != 8 {
				return f.fail("its offset of time has %d bytes", len(value))
			}
			i.offset = int64(f.order.Uint64(value))
		}
		return nil
	})
	if err == nil {
		f.interfaces = append(f.interfaces, i)
	}
	return err
}

// resolution reads a unit of time: a power of ten or, with the first bit set,
// of two.
func (f *PcapngReader) resolution(i *Interface, v byte) error {
	if v&0x80 != 0 {
		i.divisor, i.shift = 0, v&0x7f
		if i.shift > 63 {
			return f.fail("its unit of time is 2^-%d s; units are from 1 to 2^-63 s", i.shift)
		}
		return nil
	}
	if v > resolutionMax {
		return f.fail("its unit of time is 10^-%d s; units are from 1 to 10^-%d s", v, resolutionMax)
	}
	i.divisor = 1
	for range v {
		i.divisor *= 10
	}
	return nil
}

// time is what a packet's time means on its interface.
func (i *Interface) time(t uint64) (time.Time, bool) {
	var seconds, ns uint64
	if i.divisor == 0 {
		seconds = t >> i.shift
		hi, lo := bits.Mul64(t&(1<<i.shift-1), 1e9)
		ns = lo >> i.shift
		if i.shift > 0 {
			ns |= hi << (64 - i.shift)
		}
	} else {
		seconds = t / i.divisor
		hi, lo := bits.Mul64(t%i.divisor, 1e9)
		ns, _ = bits.Div64(hi, lo, i.divisor)
	}
	const most = 1 << 40 // seconds, 30,000 years
	if seconds > most || i.offset > most || i.offset < -most {
		return time.Time{}, false
	}
	return time.Unix(int64(seconds)+i.offset, int64(ns)).UTC(), true
}

func (f *PcapngReader) readStatistics(b []byte) error {
	if len(b) < fieldsStats {
		return f.fail("it is statistics of %d bytes", len(b))
	}
	n := f.order.Uint32(b)
	if int64(n) >= int64(len(f.interfaces)) {
		return f.fail("it is of interface %d, where there are %d", n, len(f.interfaces))
	}
	i := &f.interfaces[n]
	return f.options(b[fieldsStats:], func(code uint16, value []byte) error {
		var into *uint64
		switch code {
		case optionReceived:
			into = &i.Received
		case optionDropped:
			into = &i.Dropped
		default:
			return nil
		}
		if len(value) != 8 {
			return f.fail("its option %d has %d bytes, not 8", code, len(value))
		}
		*into, i.Counted = f.order.Uint64(value), true
		return nil
	})
}

// readPacket reads an enhanced packet or its obsolete forerunner.
func (f *PcapngReader) readPacket(b []byte, kind uint32) (p Packet, err error) {
	if len(b) < fieldsEPB {
		return p, f.fail("it is a packet of %d bytes", len(b))
	}
	n := f.order.Uint32(b)
	if kind == blockPacket {
		n = uint32(f.order.Uint16(b)) // and 16 bits count drops
	}
	if int64(n) >= int64(len(f.interfaces)) {
		return p, f.fail("it is of interface %d, where there are %d", n, len(f.interfaces))
	}
	var ok bool
	p.Interface = int(n)
	if p.Time, ok = f.interfaces[n].time(uint64(f.order.Uint32(b[4:]))<<32 | uint64(f.order.Uint32(b[8:]))); !ok {
		return p, f.fail("its time is beyond the year 30000")
	}
	rest, err := f.data(&p, b[fieldsEPB:], f.order.Uint32(b[12:]), f.order.Uint32(b[16:]))
	if err != nil {
		return p, err
	}
	err = f.options(rest, func(code uint16, value []byte) error {
		switch {
		case code == optionComment && p.Comment == "":
			p.Comment = text(value)
			return nil
		case code != optionFlags:
			return nil
		case len(value) != 4:
			return f.fail("its flags have %d bytes", len(value))
		}
		switch f.order.Uint32(value) & 3 {
		case 1:
			p.Direction = DirectionIn
		case 2:
			p.Direction = DirectionOut
		}
		return nil
	})
	return p, err
}

// readSimple reads a packet that says nothing but its length.
func (f *PcapngReader) readSimple(b []byte) (p Packet, err error) {
	switch {
	case len(b) < 4:
		return p, f.fail("it is a packet of %d bytes", len(b))
	case len(f.interfaces) == 0:
		return p, f.fail("it is of interface 0, where there are 0")
	}
	length := f.order.Uint32(b)
	rest, err := f.data(&p, b[4:], min(length, uint32(f.interfaces[0].Snaplen)), length)
	if err == nil && len(rest) > 0 {
		err = f.fail("there are %d bytes behind its data", len(rest))
	}
	p.Time = time.Unix(0, 0).UTC()
	return p, err
}

// data takes a packet's bytes from the front of b and returns what is behind
// them.
func (f *PcapngReader) data(p *Packet, b []byte, captured, length uint32) ([]byte, error) {
	switch {
	case captured > PacketMax:
		return nil, f.fail("it claims %d captured bytes; there are at most %d", captured, PacketMax)
	case captured > length:
		return nil, f.fail("it claims %d captured bytes of a packet of %d", captured, length)
	case uint64(length) > math.MaxInt32:
		return nil, f.fail("it claims a length of %d bytes", length)
	case padded(int(captured)) > len(b):
		return nil, f.fail("it claims %d captured bytes, of which %d are there", captured, len(b))
	}
	p.Data, p.Length = b[:captured], int(length)
	return b[padded(int(captured)):], nil
}
