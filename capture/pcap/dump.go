package pcap

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/towpath/towpath/capture/savefile"
)

// A Dumper writes packets to a file of format pcap, a pcap_dumper_t.
type Dumper struct {
	w    *savefile.Writer
	b    *bufio.Writer
	c    io.Closer // nil: not ours to close
	size int64
}

// recordLen is what stands before each packet in a file, headerLen before all.
const (
	headerLen = 24
	recordLen = 16
)

// DumpOpen makes a file for packets of the handle, or empties the one that is
// there. The name "-" is standard output.
func (h *Handle) DumpOpen(name string) (*Dumper, error) {
	if name == "-" {
		return h.NewDumper(os.Stdout)
	}
	f, err := os.Create(name)
	if err != nil {
		return nil, err
	}
	d, err := h.NewDumper(f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return d, nil
}

// NewDumper writes packets of the handle to w (pcap_dump_fopen). If w is an
// [io.Closer] it is the dumper's to close, unless it is standard output.
func (h *Handle) NewDumper(w io.Writer) (*Dumper, error) {
	d := &Dumper{b: bufio.NewWriterSize(w, 64<<10), size: headerLen}
	if c, ok := w.(io.Closer); ok && w != io.Writer(os.Stdout) {
		d.c = c
	}
	var err error
	d.w, err = savefile.NewWriter(d.b, h.fileHeader())
	return d, err
}

func (h *Handle) fileHeader() savefile.Header {
	return savefile.Header{Link: h.info.Link, Snaplen: h.info.Snaplen, Micro: !h.nano}
}

// DumpOpenAppend goes on with a file that has packets of the handle's kind: the
// same link type, snapshot length, precision and byte order. A file that is
// empty or not there is begun.
func (h *Handle) DumpOpenAppend(name string) (*Dumper, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, err
	}
	d, err := h.appendTo(f)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", name, err), f.Close())
	}
	return d, nil
}

func (h *Handle) appendTo(f *os.File) (*Dumper, error) {
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, err
	}
	if end == 0 {
		return h.NewDumper(f)
	}
	r, err := savefile.NewReader(io.NewSectionReader(f, 0, end))
	if err != nil {
		return nil, err
	}
	has, wants := r.Header(), h.fileHeader()
	switch {
	case has.Link != wants.Link:
		return nil, fmt.Errorf("its link type is %d, the packets' is %d", has.Link, wants.Link)
	case has.Snaplen != wants.Snaplen:
		return nil, fmt.Errorf("its snapshot length is %d, the packets' is %d", has.Snaplen, wants.Snaplen)
	case has.Micro != wants.Micro:
		return nil, errors.New("its time stamps are of another precision")
	}
	wants.Order = has.Order
	d := &Dumper{b: bufio.NewWriterSize(f, 64<<10), c: f, size: end}
	// What the writer would begin a new file with is in this one already.
	begun := &skipping{w: d.b, skip: headerLen}
	d.w, err = savefile.NewWriter(begun, wants)
	return d, err
}

// skipping leaves out the first bytes written to w.
type skipping struct {
	w    io.Writer
	skip int
}

func (s *skipping) Write(b []byte) (int, error) {
	n := min(s.skip, len(b))
	s.skip -= n
	m, err := s.w.Write(b[n:])
	return n + m, err
}

// Dump writes a packet.
func (d *Dumper) Dump(p Packet) error {
	err := d.w.WritePacket(p.Time, p.Data, p.Length)
	if err == nil {
		d.size += recordLen + int64(len(p.Data))
	}
	return err
}

// Flush hands what is buffered to the operating system.
func (d *Dumper) Flush() error { return d.b.Flush() }

// Ftell is the length of the file in bytes, with what is buffered.
func (d *Dumper) Ftell() int64 { return d.size }

// Close flushes and closes the file.
func (d *Dumper) Close() error {
	err := d.b.Flush()
	if d.c != nil {
		err = errors.Join(err, d.c.Close())
	}
	return err
}
