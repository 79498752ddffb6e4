package pcap

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"github.com/towpath/towpath/capture/bpf"
	"github.com/towpath/towpath/capture/expr"
	"github.com/towpath/towpath/capture/jit"
	"github.com/towpath/towpath/capture/live"
	"github.com/towpath/towpath/capture/savefile"
	"github.com/towpath/towpath/wire"
)

// SnaplenMax is the longest snapshot length, in bytes.
const SnaplenMax = savefile.PacketMax

// Errors of reading.
var (
	// ErrTimeout is returned when no packet came within the time to wait.
	ErrTimeout = live.ErrTimeout
	// ErrBreak is returned when BreakLoop ended a call.
	ErrBreak = errors.New("pcap: the loop was broken")
	// ErrNotSupported is returned for what a handle of this kind cannot do.
	ErrNotSupported = errors.New("pcap: not possible on this kind of handle")
)

// A Packet is a captured packet. Its Data are lent until the next one is read.
type Packet = savefile.Packet

// A Source is where a handle's packets come from. It may be used by one
// goroutine at a time, but for Interrupt.
type Source interface {
	// Next returns the next packet, whose Data are lent until the next call.
	// If none comes within wait, the error is ErrTimeout; a wait below zero is
	// for ever. The end is io.EOF.
	Next(wait time.Duration) (Packet, error)
	// Interrupt makes a Next that waits, or the next that would, return
	// ErrTimeout at once. Any goroutine may call it.
	Interrupt()
	Close() error
}

// A FilteringSource is a Source that leaves packets out by itself.
type FilteringSource interface {
	Source
	// SetFilter replaces the program. Packets that came before are not
	// returned any more, unless the new program keeps them too.
	SetFilter(bpf.Program) error
}

// A CountingSource is a Source that knows how much it has seen.
type CountingSource interface {
	Source
	Stats() (Stats, error)
}

// An InjectingSource is a Source through which packets can be sent.
type InjectingSource interface {
	Source
	Inject(packet []byte) error
}

// Stats is what pcap_stats tells.
type Stats struct {
	Recv   uint64 // packets that passed the filter, kept or lost
	Drop   uint64 // of these, how many did not fit into the buffer
	IfDrop uint64 // packets that the interface dropped
}

// Info is what holds for all packets of a source.
type Info struct {
	Link    wire.LinkType
	Snaplen int // 0 means SnaplenMax
	// Live: the source is a packet socket of Linux, where the outer VLAN tag,
	// the direction and the interface are known beside a packet.
	Live bool
}

// A Handle is a capture or a file being read, a pcap_t.
type Handle struct {
	src     Source // nil: none, as OpenDead makes it
	info    Info
	timeout time.Duration // of NextEx
	nano    bool
	way     savefile.Direction
	filter  *jit.Filter // nil: everything, or the source filters
	seen    uint64
	broken  atomic.Bool
}

// NewHandle makes a handle of a source. NextEx waits for at most timeout; below
// zero, for ever.
func NewHandle(src Source, info Info, timeout time.Duration) *Handle {
	if info.Snaplen == 0 {
		info.Snaplen = SnaplenMax
	}
	return &Handle{src: src, info: info, timeout: timeout}
}

// OpenDead makes a handle without packets, for Compile and DumpOpen.
func OpenDead(link wire.LinkType, snaplen int) *Handle {
	return NewHandle(nil, Info{Link: link, Snaplen: snaplen}, 0)
}

// OpenOffline opens a file, of format pcap or pcapng, compressed with gzip or
// not. The name "-" is standard input.
func OpenOffline(name string) (*Handle, error) {
	if name == "-" {
		return NewOffline(os.Stdin)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	h, err := NewOffline(f)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return h, nil
}

// NewOffline reads packets from r, as OpenOffline does (pcap_fopen_offline). If
// r is an [io.Closer] it is the handle's to close, unless it is standard input.
func NewOffline(r io.Reader) (*Handle, error) {
	s, err := savefile.NewSource(r)
	if err != nil {
		return nil, err
	}
	f := &file{source: s}
	if c, ok := r.(io.Closer); ok && r != io.Reader(os.Stdin) {
		f.closer = c
	}
	return NewHandle(f, Info{Link: s.Header().Link, Snaplen: s.Header().Snaplen}, 0), nil
}

// A file is a Source.
type file struct {
	source *savefile.Source
	closer io.Closer
}

func (f *file) Next(time.Duration) (Packet, error) { return f.source.Next() }

func (f *file) Interrupt() {}

func (f *file) Close() error {
	if f.closer == nil {
		return nil
	}
	return f.closer.Close()
}

// Close ends the capture or closes the file.
func (h *Handle) Close() error {
	if h.src == nil {
		return nil
	}
	return h.src.Close()
}

// Datalink is what packets begin with.
func (h *Handle) Datalink() wire.LinkType { return h.info.Link }

// Snapshot is the snapshot length in bytes.
func (h *Handle) Snapshot() int { return h.info.Snaplen }

// SetNano asks for time stamps in nanoseconds, of packets and of the files of
// DumpOpen (PCAP_TSTAMP_PRECISION_NANO).
func (h *Handle) SetNano(on bool) { h.nano = on }

// Nano reports whether time stamps are in nanoseconds.
func (h *Handle) Nano() bool { return h.nano }

// SetDirection leaves out packets that go another way than d; DirectionUnknown
// takes all. Packets whose direction is not known are never left out.
func (h *Handle) SetDirection(d savefile.Direction) { h.way = d }

// Compile makes a program of an expression in the language of pcap-filter(7).
// The netmask is that of the network captured on, for "ip broadcast"; it need
// not be one. Errors about the expression are of type [*expr.Error].
func (h *Handle) Compile(expression string, optimize bool, netmask netip.Addr) (bpf.Program, error) {
	return expr.Compile(expression, expr.Config{
		Link: h.info.Link, Snaplen: uint32(h.info.Snaplen), Netmask: netmask, Optimize: optimize, Live: h.info.Live,
	})
}

// SetFilter passes on only packets that the program keeps, and as many of their
// bytes as it says. An empty program keeps everything.
func (h *Handle) SetFilter(p bpf.Program) error {
	if s, ok := h.src.(FilteringSource); ok {
		return s.SetFilter(p)
	}
	if len(p) == 0 {
		h.filter = nil
		return nil
	}
	f, err := jit.Compile(p)
	if err == nil {
		h.filter = f
	}
	return err
}

// Match reports how many bytes of a packet a program keeps
// (pcap_offline_filter). Whoever has many packets makes a [jit.Filter].
func Match(p bpf.Program, pkt Packet) (uint32, error) {
	m, err := bpf.Compile(p)
	if err != nil {
		return 0, err
	}
	return m.Run(pkt.Data, pkt.Length, nil), nil
}

// NextEx returns the next packet. Without one, the error is io.EOF at the end
// of a file, ErrTimeout, or ErrBreak.
func (h *Handle) NextEx() (Packet, error) { return h.next(h.timeout) }

func (h *Handle) next(wait time.Duration) (Packet, error) {
	if h.src == nil {
		return Packet{}, ErrNotSupported
	}
	for {
		if h.broken.Swap(false) {
			return Packet{}, ErrBreak
		}
		p, err := h.src.Next(wait)
		if err != nil {
			if err == ErrTimeout && h.broken.Swap(false) {
				err = ErrBreak
			}
			return Packet{}, err
		}
		p.Data = p.Data[:min(len(p.Data), h.info.Snaplen)]
		if h.way != savefile.DirectionUnknown && p.Direction != savefile.DirectionUnknown && p.Direction != h.way {
			continue
		}
		if h.filter != nil && h.filter.Run(p.Data, p.Length, nil) == 0 {
			continue
		}
		h.seen++
		if !h.nano {
			p.Time = p.Time.Truncate(time.Microsecond)
		}
		return p, nil
	}
}

// Loop calls f for n packets, or for all if n is 0 or less, until the end of a
// file, an error or BreakLoop, for which the error is ErrBreak.
func (h *Handle) Loop(n int, f func(Packet)) error {
	for i := 0; n <= 0 || i < n; {
		p, err := h.next(-1)
		switch err {
		case nil:
			f(p)
			i++
		case io.EOF:
			return nil
		case ErrTimeout:
		default:
			return err
		}
	}
	return nil
}

// Dispatch calls f for the packets that are there, at most n of them if n is
// above 0, and returns how many there were. It waits for the first one as NextEx
// does, and for no other. Of a file all packets are there, and the error is
// io.EOF at its end.
func (h *Handle) Dispatch(n int, f func(Packet)) (count int, err error) {
	for wait := h.timeout; n <= 0 || count < n; wait = 0 {
		p, err := h.next(wait)
		switch err {
		case nil:
			f(p)
			count++
		case ErrTimeout:
			return count, nil
		default:
			return count, err
		}
	}
	return count, nil
}

// BreakLoop makes a call that reads, now or next, return ErrBreak.
func (h *Handle) BreakLoop() {
	h.broken.Store(true)
	if h.src != nil {
		h.src.Interrupt()
	}
}

// Stats are the capture's counters. Of a file they are not supported.
func (h *Handle) Stats() (Stats, error) {
	if s, ok := h.src.(CountingSource); ok {
		return s.Stats()
	}
	return Stats{}, ErrNotSupported
}

// Inject sends a packet (pcap_inject, pcap_sendpacket).
func (h *Handle) Inject(packet []byte) error {
	if s, ok := h.src.(InjectingSource); ok {
		return s.Inject(packet)
	}
	return ErrNotSupported
}
