package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"time"

	"github.com/towpath/towpath/capture"
	"github.com/towpath/towpath/capture/savefile"
	"github.com/towpath/towpath/link"
)

// captureBuffer is what may wait for the disk, in bytes a link: some tenths of
// a second of a transfer at full speed.
const captureBuffer = 32 << 20

// A captureFile is what a link's packets are written to.
type captureFile interface {
	capture.Sink
	Name() string
	// finish writes what is known at the end, and closes the file.
	finish(capture.Stats) error
}

// startCaptures begins a capture of each link.
func (n *Net) startCaptures(o Options) error {
	create := createPcapng
	if o.Pcap {
		create = createPcap
	}
	for _, w := range n.wires {
		f, err := create(filepath.Join(o.CaptureDir, w.link.fileName()), w)
		if err != nil {
			return fmt.Errorf("capture of %v: %w", w.link, err)
		}
		w.file, w.tap = f, capture.Start(f, capture.Config{Buffer: captureBuffer})
		w.adapter.AddTap(w.tap)
	}
	return nil
}

// fileName is what a link's capture is called, without an extension.
func (l *Link) fileName() string {
	a, b := l.Ends[0], l.Ends[1]
	return fmt.Sprintf("%s-%s--%s-%s", a.Node.Name, a.Name, b.Node.Name, b.Name)
}

// pcapFile is a captureFile for old tools.
type pcapFile struct{ *savefile.File }

func createPcap(name string, w *wired) (captureFile, error) {
	f, err := savefile.Create(name+".pcap", savefile.Header{Link: capture.LinkType(w.adapter)})
	return pcapFile{f}, err
}

func (f pcapFile) finish(capture.Stats) error { return f.Close() }

// pcapngFile is a captureFile with the name of the interface where the packets
// are seen, and which way they go there.
type pcapngFile struct{ file *savefile.PcapngFile }

func createPcapng(name string, w *wired) (captureFile, error) {
	f, err := savefile.CreatePcapng(name+".pcapng", savefile.Section{Application: "towpath", OS: runtime.GOOS})
	if err != nil {
		return nil, err
	}
	_, err = f.AddInterface(savefile.Interface{
		Name: w.link.Ends[w.from].String(), Description: w.link.String(), Link: capture.LinkType(w.adapter),
	})
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return pcapngFile{f}, nil
}

func (f pcapngFile) Name() string { return f.file.Name() }
func (f pcapngFile) Flush() error { return f.file.Flush() }

// WritePacket implements [capture.Sink].
func (f pcapngFile) WritePacket(t time.Time, data []byte, length int) error {
	return f.file.WritePacket(savefile.Packet{Time: t, Data: data, Length: length})
}

// WriteDirected implements [capture.DirectedSink].
func (f pcapngFile) WriteDirected(_ *link.Adapter, dir link.Direction, t time.Time, data []byte, length int) error {
	d := savefile.DirectionIn
	if dir == link.Out {
		d = savefile.DirectionOut
	}
	return f.file.WritePacket(savefile.Packet{Time: t, Data: data, Length: length, Direction: d})
}

func (f pcapngFile) finish(s capture.Stats) error {
	err := f.file.WriteStats(0, time.Now(), s.Written+s.Dropped, s.Dropped)
	if e := f.file.Close(); err == nil {
		err = e
	}
	return err
}

// Capture writes a link's packets to w, as a pcapng file, until ctx ends, the
// lab is taken down, or w fails.
func (n *Net) Capture(ctx context.Context, l *Link, w io.Writer) error {
	if !n.enter() {
		return ErrClosed
	}
	defer n.programs.Done()
	n.mu.Lock()
	x := n.wire(l)
	a, from := x.adapter, l.Ends[x.from]
	n.mu.Unlock()
	if a == nil {
		return errCrashed(from.Node)
	}
	f, err := savefile.NewPcapngWriter(w, savefile.Section{Application: "towpath", OS: runtime.GOOS})
	if err != nil {
		return err
	}
	_, err = f.AddInterface(savefile.Interface{Name: from.String(), Description: l.String(), Link: capture.LinkType(a)})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(n.stop, cancel)()
	t := capture.Start(streamSink{f, cancel}, capture.Config{Buffer: streamBuffer})
	a.AddTap(t)
	<-ctx.Done()
	a.RemoveTap(t)
	return t.Close()
}

// streamBuffer is what may wait for a reader of a capture, in bytes.
const streamBuffer = 4 << 20

// streamSink is a capture without a file.
type streamSink struct {
	*savefile.PcapngWriter
	cancel context.CancelFunc // called once nobody reads
}

// WritePacket implements [capture.Sink].
func (s streamSink) WritePacket(t time.Time, data []byte, length int) error {
	return s.write(savefile.Packet{Time: t, Data: data, Length: length})
}

// WriteDirected implements [capture.DirectedSink].
func (s streamSink) WriteDirected(_ *link.Adapter, dir link.Direction, t time.Time, data []byte, length int) error {
	d := savefile.DirectionIn
	if dir == link.Out {
		d = savefile.DirectionOut
	}
	return s.write(savefile.Packet{Time: t, Data: data, Length: length, Direction: d})
}

func (s streamSink) write(p savefile.Packet) error {
	err := s.PcapngWriter.WritePacket(p)
	if err != nil {
		s.cancel()
	}
	return err
}
