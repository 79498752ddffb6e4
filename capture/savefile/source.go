package savefile

import (
	"bufio"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"io"
)

// A Source reads a file of either format, compressed with gzip or not, as if
// its packets came from one interface.
type Source struct {
	header     Header
	next       func() (Packet, error)
	interfaces func() []Interface
}

// NewSource finds out of what format a file is and begins to read it.
func NewSource(r io.Reader) (*Source, error) {
	b := bufio.NewReaderSize(r, 64<<10)
	if magic, _ := b.Peek(2); len(magic) == 2 && magic[0] == 0x1f && magic[1] == 0x8b {
		z, err := gzip.NewReader(b)
		if err != nil {
			return nil, fmt.Errorf("savefile: %w", err)
		}
		b = bufio.NewReaderSize(z, 64<<10)
	}
	if magic, _ := b.Peek(4); len(magic) < 4 || binary.BigEndian.Uint32(magic) != magicPcapng {
		f, err := NewReader(b)
		if err != nil {
			return nil, err
		}
		return &Source{header: f.Header(), next: f.Next, interfaces: func() []Interface { return nil }}, nil
	}
	f, err := NewPcapngReader(b)
	if err != nil {
		return nil, err
	}
	first, err := f.firstInterface()
	if err != nil {
		return nil, err
	}
	s := &Source{header: Header{Link: first.Link, Snaplen: first.Snaplen, Order: f.section.Order}, interfaces: f.Interfaces}
	s.next = func() (Packet, error) {
		p, err := f.Next()
		if err != nil {
			return p, err
		}
		// Whoever knows one header for all packets would misread, or cut, those
		// of an interface of another kind.
		if i := &f.interfaces[p.Interface]; i.Link != first.Link || i.Snaplen != first.Snaplen {
			f.err = fmt.Errorf("savefile: interface %d has link type %d and snapshot length %d, the first has %d and %d",
				p.Interface, i.Link, i.Snaplen, first.Link, first.Snaplen)
			return Packet{}, f.err
		}
		return p, nil
	}
	return s, nil
}

// Header is what holds for all packets. Of pcapng files it is the first
// interface that says it, and Micro is not set.
func (s *Source) Header() Header { return s.header }

// Interfaces are those of a pcapng file's section as far as they have been
// read; none of a pcap file.
func (s *Source) Interfaces() []Interface { return s.interfaces() }

// Next reads a packet, as Reader.Next and PcapngReader.Next do. A packet of an
// interface of another kind than the first is an error.
func (s *Source) Next() (Packet, error) { return s.next() }

// firstInterface reads until an interface is known, and returns a copy. No
// packet comes before.
func (f *PcapngReader) firstInterface() (Interface, error) {
	for len(f.interfaces) == 0 {
		if _, _, err := f.block(); err != nil {
			if err == io.EOF {
				err = fmt.Errorf("savefile: there is no interface: %w", io.ErrUnexpectedEOF)
			}
			return Interface{}, err
		}
	}
	return f.interfaces[0], nil
}
