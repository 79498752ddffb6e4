package savefile

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/towpath/towpath/wire"
)

// Blocks of a pcapng file that mean something here.
const (
	blockSection    = magicPcapng
	blockInterface  = 1
	blockPacket     = 2 // obsolete, and still read
	blockSimple     = 3
	blockStatistics = 5
	blockEnhanced   = 6
)

// Options of these blocks.
const (
	optionEnd         = 0
	optionComment     = 1
	optionHardware    = 2  // of a section
	optionOS          = 3  // of a section
	optionApplication = 4  // of a section
	optionName        = 2  // of an interface
	optionDescription = 3  // of an interface
	optionResolution  = 9  // of an interface's times
	optionTimeOffset  = 14 // of an interface's times
	optionFlags       = 2  // of a packet
	optionReceived    = 4  // of statistics
	optionDropped     = 5  // of statistics
)

const (
	byteOrderMagic = 0x1a2b3c4d
	sectionMajor   = 1
	sectionMinor   = 0

	blockMin       = 12       // type, length, and length again
	blockMax       = 16 << 20 // of one that is skipped
	blockKeptMax   = 1 << 20  // of one that is read
	interfacesMax  = 4096     // of a section
	textMax        = 1024     // of an option that is kept, in bytes
	fieldsSection  = 16
	fieldsIDB      = 8
	fieldsEPB      = 20
	fieldsStats    = 12
	resolutionNano = 9
	resolutionMax  = 18 // decimal digits of a second's fraction
)

// Direction is which way a packet passed its interface.
type Direction uint8

const (
	DirectionUnknown Direction = iota
	DirectionIn
	DirectionOut
)

// A Section is what a pcapng file says about itself. Everything may be empty.
type Section struct {
	Hardware, OS, Application string
	// Order is the byte order of the numbers; nil: this machine's.
	Order binary.ByteOrder
}

// An Interface is where packets of a pcapng file were captured.
type Interface struct {
	Name, Description string
	// Link is what the packets begin with.
	Link wire.LinkType
	// Snaplen bounds the captured bytes of a packet; 0 means PacketMax.
	Snaplen int

	// Received and Dropped are what the file says, at its end, of all the
	// packets: how many there were, and how many of them are not in it.
	// Counted is set if it says so.
	Received, Dropped uint64
	Counted           bool

	divisor uint64 // units of time in a second; 0: a power of two
	shift   uint8  // that power
	offset  int64  // seconds
}

// A PcapngWriter writes a pcapng file of one section.
type PcapngWriter struct {
	w     io.Writer
	order byteOrder
	snap  []int // by interface
	buf   []byte
}

// NewPcapngWriter begins a file on w. Interfaces are added before their
// packets.
func NewPcapngWriter(w io.Writer, s Section) (*PcapngWriter, error) {
	f := &PcapngWriter{w: w, order: orderOf(s.Order)}
	f.begin(blockSection)
	f.uint32(byteOrderMagic)
	f.uint16(sectionMajor)
	f.uint16(sectionMinor)
	f.uint32(math.MaxUint32) // the section's length is not said
	f.uint32(math.MaxUint32)
	f.text(optionHardware, s.Hardware)
	f.text(optionOS, s.OS)
	f.text(optionApplication, s.Application)
	return f, f.end()
}

// AddInterface describes the next interface. The first has the number 0.
func (f *PcapngWriter) AddInterface(i Interface) (number int, err error) {
	switch {
	case len(f.snap) == interfacesMax:
		return 0, fmt.Errorf("savefile: more than %d interfaces", interfacesMax)
	case i.Snaplen < 0 || i.Snaplen > PacketMax:
		return 0, fmt.Errorf("savefile: snapshot length %d is not from 1 to %d", i.Snaplen, PacketMax)
	case i.Snaplen == 0:
		i.Snaplen = PacketMax
	}
	f.begin(blockInterface)
	f.uint16(uint16(i.Link))
	f.uint16(0)
	f.uint32(uint32(i.Snaplen))
	f.text(optionName, i.Name)
	f.text(optionDescription, i.Description)
	f.option(optionResolution, []byte{resolutionNano})
	if err := f.end(); err != nil {
		return 0, err
	}
	f.snap = append(f.snap, i.Snaplen)
	return len(f.snap) - 1, nil
}

// WritePacket writes a packet. Data beyond the interface's snapshot length are
// left out. It writes once to the underlying writer and keeps nothing.
func (f *PcapngWriter) WritePacket(p Packet) error {
	ns, ok := nanoseconds(p.Time)
	switch {
	case p.Interface < 0 || p.Interface >= len(f.snap):
		return fmt.Errorf("savefile: a packet of interface %d, where there are %d", p.Interface, len(f.snap))
	case p.Length < len(p.Data):
		return fmt.Errorf("savefile: %d captured bytes of a packet of %d", len(p.Data), p.Length)
	case uint64(p.Length) > math.MaxUint32:
		return fmt.Errorf("savefile: a packet of %d bytes", p.Length)
	case !ok:
		return fmt.Errorf("savefile: the time %v cannot be written; files know the years 1970 to 2262", p.Time)
	}
	data := p.Data[:min(len(p.Data), f.snap[p.Interface])]
	f.begin(blockEnhanced)
	f.uint32(uint32(p.Interface))
	f.time(ns)
	f.uint32(uint32(len(data)))
	f.uint32(uint32(p.Length))
	f.buf = append(f.buf, data...)
	f.pad()
	f.text(optionComment, p.Comment)
	if p.Direction != DirectionUnknown {
		f.option(optionFlags, f.order.AppendUint32(nil, uint32(p.Direction)))
	}
	return f.end()
}

// WriteStats says at the end of a capture how many packets of an interface
// there were, and how many of them were lost to the file.
func (f *PcapngWriter) WriteStats(number int, at time.Time, received, dropped uint64) error {
	if number < 0 || number >= len(f.snap) {
		return fmt.Errorf("savefile: statistics of interface %d, where there are %d", number, len(f.snap))
	}
	ns, ok := nanoseconds(at)
	if !ok {
		ns = 0
	}
	f.begin(blockStatistics)
	f.uint32(uint32(number))
	f.time(ns)
	f.option(optionReceived, f.order.AppendUint64(nil, received))
	f.option(optionDropped, f.order.AppendUint64(nil, dropped))
	return f.end()
}

// begin begins a block; end writes its lengths and hands it over.
func (f *PcapngWriter) begin(kind uint32) {
	f.buf = f.buf[:0]
	f.uint32(kind)
	f.uint32(0)
}

func (f *PcapngWriter) end() error {
	if len(f.buf) > f.fixed() {
		f.uint32(optionEnd)
	}
	n := uint32(len(f.buf) + 4)
	f.uint32(n)
	f.order.PutUint32(f.buf[4:], n)
	_, err := f.w.Write(f.buf)
	return err
}

// fixed is how long the block would be without options.
func (f *PcapngWriter) fixed() int {
	switch f.order.Uint32(f.buf) {
	case blockSection:
		return 8 + fieldsSection
	case blockInterface:
		return 8 + fieldsIDB
	case blockStatistics:
		return 8 + fieldsStats
	}
	return 8 + fieldsEPB + padded(int(f.order.Uint32(f.buf[20:])))
}

func (f *PcapngWriter) uint16(v uint16) { f.buf = f.order.AppendUint16(f.buf, v) }
func (f *PcapngWriter) uint32(v uint32) { f.buf = f.order.AppendUint32(f.buf, v) }

// nanoseconds is a time as files have it, if they can.
func nanoseconds(t time.Time) (ns int64, ok bool) {
	ns = t.UnixNano()
	return ns, ns >= 0 && time.Unix(0, ns).Equal(t)
}

// time writes a number of nanoseconds, its upper half first in both orders.
func (f *PcapngWriter) time(ns int64) {
	f.uint32(uint32(uint64(ns) >> 32))
	f.uint32(uint32(ns))
}

func (f *PcapngWriter) option(code uint16, value []byte) {
	f.uint16(code)
	f.uint16(uint16(len(value)))
	f.buf = append(f.buf, value...)
	f.pad()
}

func (f *PcapngWriter) text(code uint16, s string) {
	if s = s[:min(len(s), textMax)]; s != "" {
		f.option(code, []byte(s))
	}
}

// pad fills up to a multiple of four bytes.
func (f *PcapngWriter) pad() {
	f.buf = append(f.buf, make([]byte, padded(len(f.buf))-len(f.buf))...)
}

func padded(n int) int { return (n + 3) &^ 3 }

// A byteOrder reads and appends numbers.
type byteOrder interface {
	binary.ByteOrder
	binary.AppendByteOrder
}

// orderOf is an order's other half; nil is this machine's.
func orderOf(o binary.ByteOrder) byteOrder {
	if o == nil {
		o = binary.NativeEndian
	}
	if o.Uint16([]byte{1, 0}) == 1 {
		return binary.LittleEndian
	}
	return binary.BigEndian
}
