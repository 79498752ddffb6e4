package hook

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
)

// An editor replaces a word in a stream, as a callout that inspects deeply
// does: permit what comes before, block the word and put another in its place,
// and wait for more where a word may have begun.
type editor struct{ from, to string }

func (e *editor) JudgeStream(c *StreamContext) StreamVerdict {
	if i := bytes.Index(c.Data, []byte(e.from)); i > 0 {
		c.Count = i
		return StreamPermit
	} else if i == 0 {
		c.Count, c.Replace = len(e.from), []byte(e.to)
		return StreamBlock
	}
	for n := min(len(e.from)-1, len(c.Data)); n > 0 && !c.End && !c.Full; n-- {
		if !strings.HasPrefix(e.from, string(c.Data[len(c.Data)-n:])) {
			continue
		}
		if c.Count = len(c.Data) - n; c.Count > 0 {
			return StreamPermit
		}
		c.Need = len(e.from) - n
		return StreamMore
	}
	return StreamPermit
}

// However a stream is cut into segments, it is edited the same.
func TestStreamEdit(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		var in []byte
		for range r.IntN(60) {
			in = append(in, "abcabd x"[r.IntN(8)])
		}
		want := strings.ReplaceAll(strings.ReplaceAll(string(in), "abd", "x"), "xx", "secret")
		l := Judges[StreamJudge](nil).With(2, &editor{"xx", "secret"}).With(1, &editor{"abd", "x"})
		s := NewStream(l)
		var got []byte
		for rest, end := in, false; !end; {
			n := r.IntN(len(rest) + 1)
			end = n == len(rest)
			var ok bool
			if got, ok = s.Write(0, got, rest[:n], end); !ok {
				t.Fatalf("%q: ended", in)
			}
			rest = rest[n:]
		}
		if string(got) != want || s.Held() != 0 {
			t.Fatalf("%q: %q, want %q; %d bytes held", in, got, want, s.Held())
		}
	}
}

type streamJudge func(c *StreamContext) StreamVerdict

func (f *streamJudge) JudgeStream(c *StreamContext) StreamVerdict { return (*f)(c) }

func TestStream(t *testing.T) {
	var first, second streamJudge
	var say StreamVerdict
	asked, seen := 0, ""
	first = func(c *StreamContext) StreamVerdict {
		asked++
		c.Need = 3
		return say
	}
	second = func(c *StreamContext) StreamVerdict {
		seen += string(c.Data)
		return StreamPermit
	}
	fresh := func() *Stream {
		asked, seen = 0, ""
		return NewStream(Judges[StreamJudge](nil).With(0, &first).With(1, &second))
	}
	write := func(s *Stream, data string, end bool) string {
		out, ok := s.Write(0, nil, []byte(data), end)
		if !ok {
			return "ended"
		}
		return string(out)
	}
	for _, test := range []struct {
		name  string
		say   StreamVerdict
		write []string // the last one is the end
		want  string   // what goes out, segment by segment
		asked int
	}{
		{"permit", StreamPermit, []string{"ab", "cd"}, "ab|cd|", 2},
		{"block", StreamBlock, []string{"ab", "cd"}, "||", 2},
		{"more", StreamMore, []string{"ab", "cd", "e", "f"}, "|||ended|", 3},
		{"defer", StreamDefer, []string{"ab", "cd"}, "||", 1},
		{"allow", StreamAllow, []string{"ab", "cd"}, "ab|cd|", 1},
		{"abort", StreamAbort, []string{"ab"}, "ended|", 1},
		{"unknown", 99, []string{"ab"}, "ended|", 1},
	} {
		s := fresh()
		say = test.say
		got := ""
		for i, d := range test.write {
			got += write(s, d, i == len(test.write)-1) + "|"
		}
		if got != test.want || asked != test.asked {
			t.Errorf("%s: %q, asked %d times; want %q, %d", test.name, got, asked, test.want, test.asked)
		}
	}

	// Deferred data comes out when the judge has made up its mind, and that of
	// a judge that goes away is let go to the next one.
	for _, remove := range []bool{false, true} {
		s := fresh()
		say = StreamDefer
		write(s, "ab", false)
		write(s, "cd", false)
		if s.Held() != 4 || seen != "" {
			t.Errorf("%d bytes held, %q seen", s.Held(), seen)
		}
		if say = StreamPermit; remove {
			say = StreamAbort
			s.Remove(&first)
		}
		if out, ok := s.Resume(0, nil); string(out) != "abcd" || !ok || seen != "abcd" {
			t.Errorf("resumed: %q, %v; the next judge saw %q", out, ok, seen)
		}
	}
}

// A judge that always wants more holds back so much and no more.
func TestStreamFull(t *testing.T) {
	hungry := streamJudge(func(c *StreamContext) StreamVerdict {
		if c.Full {
			c.Count = 1 // not allowed any more: the verdict is about everything
			return StreamPermit
		}
		c.Need = 1 << 40
		return StreamMore
	})
	s := NewStream(Judges[StreamJudge](nil).With(0, &hungry))
	chunk := make([]byte, 1<<20)
	total := 0
	for range 9 {
		out, ok := s.Write(0, nil, chunk, false)
		if !ok || s.Held() > streamBufferMax {
			t.Fatalf("%v, %d held", ok, s.Held())
		}
		total += len(out)
	}
	if total != streamBufferMax {
		t.Errorf("%d bytes let go", total)
	}
}
