package cable

import (
	"testing"

	"github.com/towpath/towpath/link"
	"github.com/towpath/towpath/packet"
)

// TestStartAgain closes an end of a cable and starts it again, under another
// adapter.
func TestStartAgain(t *testing.T) {
	pa, pb := New(Config{})
	b := link.NewAdapter("b", 1, pb)
	var got sink
	b.Bind(&got)
	if err := b.Open(); err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for range 3 {
		a := link.NewAdapter("a", 1, pa)
		var back sink
		a.Bind(&back)
		if err := a.Open(); err != nil {
			t.Fatal(err)
		}
		got.frames = nil
		for _, from := range []*link.Adapter{a, b} {
			p := packet.Get()
			p.AppendBytes(make([]byte, 60))
			var l packet.List
			l.Push(p)
			from.Enqueue(&l)
			w := link.NewWork(nil)
			from.Flush(w)
			w.Run()
		}
		if len(got.frames) != 1 || len(back.frames) != 1 {
			t.Errorf("%d frames came there and %d back", len(got.frames), len(back.frames))
		}
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	}
}
