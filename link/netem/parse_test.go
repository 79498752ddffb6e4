package netem

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		text string
		want Impairment
		back string // "" means text
	}{
		{"", Impairment{}, "none"},
		{"none", Impairment{}, ""},
		{" , ,", Impairment{}, "none"},
		{"delay 10ms jitter 2ms normal, loss 1%, rate 10mbit, duplicate 0.1%, reorder 25% gap 5, corrupt 0.1%, limit 1000",
			Impairment{Delay: 10 * time.Millisecond, Jitter: 2 * time.Millisecond, Distribution: Normal, Loss: 0.01, Rate: 10e6,
				Duplicate: 0.001, Reorder: 0.25, Gap: 5, Corrupt: 0.001, Limit: 1000},
			"delay 10ms, jitter 2ms, distribution normal, loss 1%, duplicate 0.1%, reorder 25%, gap 5, corrupt 0.1%, rate 10mbit, limit 1000"},
		{"delay 100ms 10ms 25% distribution paretonormal loss random 0.07%",
			Impairment{Delay: 100 * time.Millisecond, Jitter: 10 * time.Millisecond, Correlation: 0.25, Distribution: ParetoNormal, Loss: 0.0007},
			"delay 100ms, jitter 10ms, correlation 25%, distribution paretonormal, loss 0.07%"},
		{"loss gemodel 1% 10%", Impairment{Gemodel: Gemodel{P: 0.01, R: 0.1}}, "loss gemodel 1% 10% 100% 0%"},
		{"loss gemodel 1% 10% 70% 0.1%, loss every 7, loss 2%",
			Impairment{Gemodel: Gemodel{0.01, 0.1, 0.7, 0.001}, LossEvery: 7, Loss: 0.02},
			"loss 2%, loss gemodel 1% 10% 70% 0.1%, loss every 7"},
		{"delay 1ms, jitter 1ms 50%, ordered", Impairment{Delay: time.Millisecond, Jitter: time.Millisecond, Correlation: 0.5, Ordered: true},
			"delay 1ms, jitter 1ms, correlation 50%, ordered"},
		{"delay 1ms gap 3", Impairment{Delay: time.Millisecond, Gap: 3}, "delay 1ms, gap 3"},
		{"rate 1.5mbit 24 limit 64kb limit 10", Impairment{Rate: 15e5, Overhead: 24, LimitBytes: 64 << 10, Limit: 10},
			"rate 1500kbit, overhead 24, limit 10, limit 65536b"},
		{"rate 1234567bit overhead -14", Impairment{Rate: 1234567, Overhead: -14}, "rate 1234567bit, overhead -14"},
		{"rate 1gbit", Impairment{Rate: 1e9}, ""},
		{"loss 100%", Impairment{Loss: 1}, ""},
	} {
		got, err := Parse(c.text)
		if err != nil {
			t.Errorf("%q: %v", c.text, err)
			continue
		}
		if !same(t, got, c.want) {
			t.Errorf("%q: got %+v, want %+v", c.text, got, c.want)
		}
		if c.back == "" {
			c.back = c.text
		}
		if s := got.String(); s != c.back {
			t.Errorf("%q: written as %q, want %q", c.text, s, c.back)
		}
	}
}

// same compares what has a text; gaps that zeros stand for are filled.
func same(t testing.TB, a, b Impairment) bool {
	for _, im := range []*Impairment{&a, &b} {
		im.LossIf = nil
		if im.Gemodel.P != 0 {
			im.Gemodel = im.Gemodel.filled()
		}
	}
	x, err1 := json.Marshal(a)
	y, err2 := json.Marshal(b)
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	return string(x) == string(y)
}

func TestMistakes(t *testing.T) {
	for _, c := range [][2]string{
		{"loss 120%", "loss 120%: a percentage is between 0 and 100"},
		{"loss -1%", "loss -1%: a percentage is between 0 and 100"},
		{"loss 1", "loss 1: a percentage is a number with a percent sign, such as 1%"},
		{"loss 1..2%", "loss 1..2%: a percentage is a number with a percent sign, such as 1%"},
		{"loss some", "loss some: write a percentage such as 1%, gemodel 1% 25%, or every 10"},
		{"loss", "loss: something is missing; write a percentage such as 1%, gemodel 1% 25%, or every 10"},
		{"loss 1% 25%", "loss 25%: loss has no correlation; write bursts as: loss gemodel 1% 25%"},
		{"loss 1%, loss 2%", "loss: given twice"},
		{"loss gemodel 0%", "loss gemodel 0%: this probability is above 0"},
		{"loss every 0", "loss every 0: a number here is at least 1"},
		{"loss every x", "loss every x: a number is written in digits, such as 5"},
		{"delay 10", "delay 10: a time is a number with a unit (ns, us, ms, s, m, h), such as 10ms"},
		{"delay 2h", "delay 2h: a time is between 0 and 1h"},
		{"delay -1ms", "delay -1ms: a time is between 0 and 1h"},
		{"delay 99999999999h", "delay 99999999999h: a time is between 0 and 1h"},
		{"delay, loss 1%", "delay: something is missing; a time is a number with a unit (ns, us, ms, s, m, h), such as 10ms"},
		{"delay 1ms jitter 1ms gaussian", "gaussian: not an impairment; write delay, jitter, correlation, distribution, ordered, loss, duplicate, reorder, gap, corrupt, rate, overhead or limit"},
		{"delay 1ms 1ms distribution gaussian", "distribution gaussian: a distribution is uniform, normal, pareto or paretonormal"},
		{"delay 1ms normal", "distribution normal: there is no jitter to spread; write it behind the delay, such as: delay 10ms jitter 2ms normal"},
		{"reorder 25%", "reorder 25%: packets overtake those held back, so there has to be a delay, such as: delay 10ms"},
		{"rate 10mbps", "rate 10mbps: a rate is a number of bits a second with a unit (bit, kbit, mbit, gbit, tbit), such as 10mbit"},
		{"rate 10bit", "rate 10bit: a rate is between 100bit and 1tbit"},
		{"rate 2tbit", "rate 2tbit: a rate is between 100bit and 1tbit"},
		{"rate 1mbit 5000", "rate 5000: an overhead is between -64 and 1024 bytes"},
		{"overhead 5", "overhead 5: there is no rate; write it too, such as: rate 10mbit"},
		{"limit 1000gb", "limit 1000gb: a limit is a number of packets, such as 1000, or of bytes with a unit (b, kb, mb), such as 64kb"},
		{"limit 99999mb", "limit 99999mb: a number is between 0 and 1000000000"},
		{"limit 5 6", "limit in packets: given twice"},
		{"drop \x00\n5%", `"drop": not an impairment`},
	} {
		_, err := Parse(c[0])
		if c[0] == "drop \x00\n5%" {
			c[1] = "drop: not an impairment; write delay, jitter, correlation, distribution, ordered, loss, duplicate, reorder, gap, corrupt, rate, overhead or limit"
		}
		if err == nil || err.Error() != c[1] {
			t.Errorf("%q:\n got %v\nwant %s", c[0], err, c[1])
		}
	}
}

// Validate says the same of a struct as Parse of text.
func TestValidate(t *testing.T) {
	for _, c := range []struct {
		im   Impairment
		want string
	}{
		{Impairment{Loss: 1.2}, "loss 120%: a percentage is between 0 and 100"},
		{Impairment{Corrupt: -0.5}, "corrupt -50%: a percentage is between 0 and 100"},
		{Impairment{Delay: 2 * time.Hour}, "delay 2h0m0s: a time is between 0 and 1h"},
		{Impairment{Rate: 10}, "rate 10bit: a rate is between 100bit and 1tbit"},
		{Impairment{LossEvery: -1}, "loss every -1: a number is between 0 and 1000000000"},
		{Impairment{Jitter: 1, Distribution: 9}, "distribution unknown: a distribution is uniform, normal, pareto or paretonormal"},
		{Impairment{Gemodel: Gemodel{R: 0.5}}, "loss gemodel 0%: the link would never turn bad; give a probability above 0"},
	} {
		if err := c.im.Validate(); err == nil || err.Error() != c.want {
			t.Errorf("got %v, want %s", err, c.want)
		}
		if f := New(Config{Out: c.im}); f.Attach(nil) == nil {
			t.Errorf("%v: attached", c.im)
		}
	}
}

// A file of keys and values is set key by key; a decoder sets the fields.
func TestSet(t *testing.T) {
	var im Impairment
	for _, kv := range [][2]string{{"delay", "10ms"}, {"jitter", "2ms"}, {"distribution", "normal"}, {"ordered", "true"}, {"loss", "1%"}, {"limit", "64kb"}} {
		if err := im.Set(kv[0], kv[1]); err != nil {
			t.Errorf("%v: %v", kv, err)
		}
	}
	if want := "delay 10ms, jitter 2ms, distribution normal, ordered, loss 1%, limit 65536b"; im.String() != want || im.Validate() != nil {
		t.Errorf("got %q, want %q", im, want)
	}
	if err := im.Set("ordered", "false"); err != nil || im.Ordered {
		t.Errorf("ordered false: %v", err)
	}
	if err := im.Set("lose", "1%"); err == nil || !strings.HasPrefix(err.Error(), "lose: not an impairment") {
		t.Errorf("got %v", err)
	}
	was := im.String()
	if err := im.Set("loss", "200%"); err == nil || im.String() != was {
		t.Errorf("after an error: %v", im)
	}
	if err := json.Unmarshal([]byte(`{"Delay": 5000000, "Loss": "2.5%", "Rate": "1mbit", "Jitter": 1, "Distribution": "pareto"}`), &im); err != nil || im.Loss != 0.025 || im.Rate != 1e6 || im.Distribution != Pareto {
		t.Errorf("%v, %v", im, err)
	}
	for _, bad := range []string{`{"Loss": "2.5"}`, `{"Rate": "1"}`, `{"Distribution": "x"}`} {
		if json.Unmarshal([]byte(bad), &im) == nil {
			t.Errorf("%s was taken", bad)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"delay 10ms jitter 2ms normal, loss 1%, rate 10mbit, duplicate 0.1%, reorder 25% gap 5, corrupt 0.1%, limit 1000",
		"delay 1ms 1ms 5%, loss gemodel 1% 2% 3% 4%", "loss every 3 ordered true rate 1.5kbit -4 limit 5 4kb", "loss 0.000000001%", "none", "delay 1h1m", ","} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		im, err := Parse(s)
		if err != nil {
			if m := err.Error(); strings.ContainsAny(m, "\n\r\x00") || len(m) > 400 {
				t.Errorf("%q: the error is %q", s, m)
			}
			return
		}
		text := im.String()
		again, err := Parse(text)
		if err != nil || again.String() != text || !same(t, im, again) {
			t.Errorf("%q: %+v is written %q and read %+v, %v", s, im, text, again, err)
		}
	})
}
