package main

import (
	"bytes"
	"os"
	"testing"
)

func TestProgress(t *testing.T) {
	var b, out bytes.Buffer
	p := &progressLine{w: &b}
	p.step(1, 2, "machine a")
	w := p.before(&out)
	w.Write([]byte("x\n"))
	w.Write([]byte("y\n"))
	p.step(2, 2, "link")
	p.clear()
	p.clear()
	if got := b.String(); got != "\r\x1b[K[1/2] machine a\r\x1b[K\r\x1b[K[2/2] link\r\x1b[K" || out.String() != "x\ny\n" {
		t.Errorf("terminal got %q, output %q", got, out.String())
	}
	// A buffer, a file and the null device are no terminals.
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if isTerminal(&b) || isTerminal(f) || isTerminal(null) {
		t.Error("what is none was taken for a terminal")
	}
	progress(f).step(1, 1, "nothing")
	if fi, _ := f.Stat(); fi.Size() != 0 {
		t.Error("progress was written to a file")
	}
}
