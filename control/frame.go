package control

import (
	"encoding/json"
	"errors"
	"io"
	"sync"
)

// pieceMax is the size of a piece of a program's input or output, in bytes.
const pieceMax = 32 << 10

// frameMax bounds a line of a connection on which a program runs.
const frameMax = 1 << 20

// A Frame is what is sent on a connection on which a program runs. The client
// sends one with Node and Args first, and then Stdin, End or Signal; the server
// Stdout and Stderr, and last Exit or Error.
type Frame struct {
	Node string   `json:"node,omitempty"`
	Args []string `json:"args,omitempty"`
	Dir  string   `json:"dir,omitempty"` // where it is started; empty: the lab file's

	Stdin []byte `json:"stdin,omitempty"`
	End   bool   `json:"end,omitempty"`  // of Stdin
	Stop  bool   `json:"stop,omitempty"` // the program is to end

	Stdout []byte `json:"stdout,omitempty"`
	Stderr []byte `json:"stderr,omitempty"`
	Exit   *int   `json:"exit,omitempty"`
	// Error tells why a program could not be run.
	Error string `json:"error,omitempty"`
}

// frames writes frames, from several goroutines.
type frames struct {
	mu sync.Mutex
	e  *json.Encoder
}

func newFrames(w io.Writer) *frames { return &frames{e: json.NewEncoder(w)} }

func (f *frames) send(x Frame) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.e.Encode(x)
}

// writer is a program's output, which frame puts into frames.
type writer struct {
	to    *frames
	frame func(b []byte) Frame
}

func (w writer) Write(b []byte) (n int, err error) {
	for n < len(b) {
		piece := b[n:min(n+pieceMax, len(b))]
		if err := w.to.send(w.frame(piece)); err != nil {
			return n, err
		}
		n += len(piece)
	}
	return n, nil
}

// errLong is the error of a line that no frame has.
var errLong = errors.New("control: a line is longer than 1 MiB")

// lineReader passes on no line that is too long.
type lineReader struct {
	r io.Reader
	n int // of the line that is being read
}

func (l *lineReader) Read(b []byte) (int, error) {
	n, err := l.r.Read(b)
	for _, c := range b[:n] {
		if l.n++; c == '\n' {
			l.n = 0
		}
		if l.n > frameMax {
			return 0, errLong
		}
	}
	return n, err
}
