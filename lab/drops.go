package lab

import (
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/towpath/towpath/capture"
	"github.com/towpath/towpath/capture/dissect"
	"github.com/towpath/towpath/capture/savefile"
	"github.com/towpath/towpath/link"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// dropsFile is where all dropped packets are written to, in the directory of
// captures.
const dropsFile = "drops.pcapng"

// dropLog has what hosts drop printed and written to a file.
type dropLog struct {
	taps map[string]*capture.Tap // by node

	mu   sync.Mutex
	file *savefile.PcapngFile // nil: none
}

// startDrops prepares to watch what hosts drop, if somebody wants to know.
func (n *Net) startDrops(o Options) error {
	d := &n.drops
	if o.CaptureDir != "" && !o.Pcap {
		f, err := savefile.CreatePcapng(filepath.Join(o.CaptureDir, dropsFile), savefile.Section{Application: "towpath", OS: runtime.GOOS})
		if err != nil {
			return fmt.Errorf("dropped packets: %w", err)
		}
		d.file = f
	}
	if d.file == nil && !o.Drops {
		return nil
	}
	d.taps = make(map[string]*capture.Tap)
	for _, node := range n.spec.Nodes {
		if node.Kind != Host {
			continue
		}
		s := &dropSink{log: d, node: node.Name}
		if o.Drops {
			s.output = n.output
			s.printer.Interface = func(index uint32) string { return n.adapterName(node.Name, index) }
		}
		if d.file != nil {
			var err error
			s.number, err = d.file.AddInterface(savefile.Interface{Name: node.Name, Description: "dropped by " + node.Name, Link: wire.LinkSLL2})
			if err != nil {
				return fmt.Errorf("dropped packets: %w", err)
			}
		}
		d.taps[node.Name] = capture.Start(s, capture.Config{})
	}
	return nil
}

// adapterName is the name of a host's adapter; "-" if there is none of that
// number, as for packets that are made there and not on their way out by one
// yet.
func (n *Net) adapterName(node string, index uint32) string {
	if h := n.Host(node); h != nil {
		for _, a := range h.Adapters() {
			if a.Index() == int32(index) {
				return a.Name()
			}
		}
	}
	return "-"
}

// forOthers: everybody on a link hears what is meant for others or for groups,
// and nobody asks why. The file has it.
func forOthers(r packet.Reason) bool {
	switch r {
	case packet.ReasonEthernetNotForUs, packet.ReasonARPNotForUs, packet.ReasonNDPNotForUs, packet.ReasonGroup:
		return true
	}
	return false
}

// stop ends the watch.
func (d *dropLog) stop() error {
	var errs []error
	var lost uint64
	for _, t := range d.taps {
		errs = append(errs, t.Close())
		lost += t.Stats().Dropped
	}
	if lost > 0 {
		errs = append(errs, fmt.Errorf("%d dropped packets could not be kept in time; they are counted only", lost))
	}
	if d.file != nil {
		errs = append(errs, d.file.Close())
	}
	return errors.Join(errs...)
}

// A dropSink takes what one host drops.
type dropSink struct {
	log     *dropLog
	node    string
	number  int     // of its interface in the file
	output  *output // nil: nothing is printed
	printer dissect.Printer
	line    []byte
}

// WritePacket implements [capture.Sink]. Nothing but drops comes here.
func (s *dropSink) WritePacket(time.Time, []byte, int) error { return nil }

// WriteDropped implements [capture.DropSink].
func (s *dropSink) WriteDropped(d capture.Drop, at time.Time, data []byte, length int) error {
	if s.output != nil && !forOthers(d.Reason) {
		s.line = s.printer.Append(s.line[:0], &dissect.Packet{Time: at, Data: data, Length: length, Link: wire.LinkSLL2})
		s.line = append(s.line[:len(s.line)-1], " ["...) // instead of the line feed
		s.line = fmt.Append(s.line, d.String(), "]")
		s.output.line(s.node, s.line)
	}
	if s.log.file == nil {
		return nil
	}
	dir := savefile.DirectionIn
	if d.Dir == link.Out {
		dir = savefile.DirectionOut
	}
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	return s.log.file.WritePacket(savefile.Packet{
		Time: at, Data: data, Length: length, Interface: s.number, Direction: dir, Comment: "dropped: " + d.String(),
	})
}
